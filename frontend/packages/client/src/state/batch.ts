/**
 * What has become of the files of a batch. Pure.
 *
 * Socket, poll and RAS tell the same facts, each in its own order and more than once. So a fact is merged by what
 * it says and never by when it came: any order, repetition or interleaving of the same facts ends in the same state.
 */

/** In the order of a file's life: what comes later wins over what comes before. */
export type FileStatus = "uploading" | "processing" | "failed" | "assigned";

/** Why a file has no essay. `code` is for programs, `message` for people. */
export interface ErrorDetail {
  readonly code: string;
  readonly message: string;
}

/** One file. */
export interface FileUploadState {
  readonly fileUploadId: string;
  /** Empty until somebody tells it. */
  readonly filename: string;
  readonly status: FileStatus;
  readonly assignedEssayId?: string | undefined;
  readonly errorDetail?: ErrorDetail | undefined;
  /** When that became so, ISO 8601. */
  readonly timestamp: string;
}

/** One essay of the batch. Without a file it is still free. */
export interface EssaySlot {
  readonly essayId: string;
  readonly fileUploadId?: string | undefined;
  readonly textStorageId?: string | undefined;
}

/** One batch: files by their `fileUploadId`, essays by their `essayId`. */
export interface BatchState {
  readonly batchId: string;
  readonly fileUploads: ReadonlyMap<string, FileUploadState>;
  readonly essaySlots: ReadonlyMap<string, EssaySlot>;
}

/** Batches by their id. */
export type Batches = ReadonlyMap<string, BatchState>;

/** Something that was told of a batch: of a file, of an essay, or of both. */
export interface Fact {
  readonly batchId: string;
  readonly file?: FileUploadState | undefined;
  readonly slot?: EssaySlot | undefined;
}

const LIFE: readonly FileStatus[] = ["uploading", "processing", "failed", "assigned"];

/** The batch of which nothing is known. */
export function emptyBatch(batchId: string): BatchState {
  return { batchId, fileUploads: new Map(), essaySlots: new Map() };
}

/** `batches` with these facts; the same object if they say nothing new. */
export function withFacts(batches: Batches, facts: Iterable<Fact>): Batches {
  let next = batches;
  for (const { batchId, file, slot } of facts) {
    const batch = next.get(batchId) ?? emptyBatch(batchId);
    const fileUploads = file ? merged(batch.fileUploads, file.fileUploadId, file, mergedFile) : batch.fileUploads;
    const essaySlots = slot ? merged(batch.essaySlots, slot.essayId, slot, mergedSlot) : batch.essaySlots;
    if (next.has(batchId) && fileUploads === batch.fileUploads && essaySlots === batch.essaySlots) continue;
    next = new Map(next).set(batchId, { batchId, fileUploads, essaySlots });
  }
  return next;
}

function merged<T>(
  map: ReadonlyMap<string, T>,
  key: string,
  told: T,
  merge: (known: T, told: T) => T,
): ReadonlyMap<string, T> {
  const known = map.get(key);
  const next = known === undefined ? told : merge(known, told);
  return next === known ? map : new Map(map).set(key, next);
}

function mergedFile(known: FileUploadState, told: FileUploadState): FileUploadState {
  const winner = compareFiles(known, told) < 0 ? told : known;
  const filename = known.filename > told.filename ? known.filename : told.filename;
  return winner.filename === filename ? winner : { ...winner, filename };
}

/** By life, then by what it says; of two that say the same, the one that said it first wins. */
function compareFiles(one: FileUploadState, other: FileUploadState): number {
  return (
    LIFE.indexOf(one.status) - LIFE.indexOf(other.status) ||
    compare(said(one), said(other)) ||
    compare(other.timestamp, one.timestamp)
  );
}

const said = ({ assignedEssayId, errorDetail }: FileUploadState): string => JSON.stringify([assignedEssayId, errorDetail]);

function mergedSlot(known: EssaySlot, told: EssaySlot): EssaySlot {
  return compare(content(known), content(told)) < 0 ? told : known;
}

/** A slot with a file is more than one without, whatever they are called. */
const content = (slot: EssaySlot): string => JSON.stringify([slot.fileUploadId ?? "", slot.textStorageId ?? ""]);

const compare = (one: string, other: string): number => (one < other ? -1 : Number(one > other));
