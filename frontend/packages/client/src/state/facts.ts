/** What notifications, RAS and uploads say, as facts. Pure. */

import type { EssaySlotAssigned, EssayValidationFailed } from "../contract.generated.ts";
import type { EssaySlot, Fact } from "./batch.ts";

/** A file as RAS lists it. */
export interface RasEssay {
  readonly file_upload_id: string;
  readonly filename: string;
  readonly status: string;
  readonly essay_id: string | null;
  readonly text_storage_id: string | null;
  readonly error_code: string | null;
  readonly message: string | null;
  readonly last_updated: string;
}

/** An essay that RAS knows, and the file that it has, if any. */
export interface RasSlot {
  readonly essay_id: string;
  readonly file_upload_id: string | null;
  readonly text_storage_id: string | null;
}

/** `GET /v1/batches/{batch_id}/status` of RAS: as much of it as is needed here. */
export interface RasBatch {
  readonly batch_id: string;
  readonly essays: readonly RasEssay[];
  /** Every essay of the batch, those without a file too. An older RAS doesn't list them. */
  readonly essay_slots?: readonly RasSlot[];
}

/** A file that the File Service has taken. */
export interface UploadedFile {
  readonly batchId: string;
  readonly fileUploadId: string;
  readonly filename: string;
  readonly timestamp: string;
}

/** As much of a notification as is looked at. */
interface Told {
  readonly event: string;
  readonly timestamp: string;
  readonly data: unknown;
}

/** What a notification says of a file; nothing where it is of something else. */
export function factsOfNotification({ event, timestamp, data }: Told): Fact[] {
  if (event !== "essay.slot.assigned" && event !== "essay.validation.failed") return [];
  const about = data as EssaySlotAssigned | EssayValidationFailed;
  return [fact(about.batch_id, about, about.original_file_name ?? "", timestamp)]; // an older server has none
}

/** What RAS says of a batch. */
export function factsOfRas({ batch_id: batchId, essays, essay_slots = [] }: RasBatch): Fact[] {
  return [
    ...essays.map((essay) => fact(batchId, essay, essay.filename, essay.last_updated)),
    ...essay_slots.map((slot) => ({ batchId, slot: slotOf(slot) })),
  ];
}

/** That the File Service has taken a file. */
export function factOfUpload({ batchId, fileUploadId, filename, timestamp }: UploadedFile): Fact {
  return fact(batchId, { file_upload_id: fileUploadId }, filename, timestamp);
}

/** What all of them say of a file, in the words that all of them use. */
interface AboutFile {
  readonly file_upload_id: string;
  readonly essay_id?: string | null;
  readonly text_storage_id?: string | null;
  readonly error_code?: string | null;
  readonly message?: string | null;
}

function fact(batchId: string, about: AboutFile, filename: string, timestamp: string): Fact {
  const { file_upload_id: fileUploadId, essay_id, error_code: code, message } = about;
  const file = { fileUploadId, filename, timestamp };
  if (essay_id) {
    const slot = slotOf({ ...about, essay_id });
    return { batchId, file: { ...file, status: "assigned", assignedEssayId: essay_id }, slot };
  }
  if (code) return { batchId, file: { ...file, status: "failed", errorDetail: { code, message: message ?? "" } } };
  return { batchId, file: { ...file, status: "processing" } };
}

function slotOf({ essay_id: essayId, file_upload_id, text_storage_id }: Partial<RasSlot> & { essay_id: string }): EssaySlot {
  return { essayId, fileUploadId: file_upload_id ?? undefined, textStorageId: text_storage_id ?? undefined };
}
