/** What a batch looks like to its teacher: a row a file, from the state and from this page's own uploads. Pure. */

import type { BatchState, ErrorDetail, FileStatus } from "@doorstep/client/state";
import type { Upload } from "@doorstep/client/upload";

/** One file. `trackingId` is there once the File Service has it, `upload` where this page sends it. */
export interface Row {
  readonly key: string;
  readonly filename: string;
  readonly status: FileStatus;
  readonly trackingId?: string | undefined;
  readonly essayId?: string | undefined;
  readonly error?: ErrorDetail | undefined;
  readonly upload?: Upload | undefined;
}

/** The files of a batch by name, as people count: "essay 2" before "essay 10". */
export function rowsOf(batch: BatchState, uploads: readonly Upload[]): readonly Row[] {
  const mine = uploads.filter(({ batchId }) => batchId === batch.batchId);
  return [...rowsOfState(batch, mine), ...mine.filter(({ state }) => state !== "sent").map(rowOfUpload)].sort(byName);
}

/**
 * A file whose upload is not answered yet is known by its upload alone: what the socket tells of it in the meantime
 * would be a second row with the same name, or with none.
 */
function rowsOfState(batch: BatchState, uploads: readonly Upload[]): Row[] {
  const answered = new Map(uploads.map((upload) => [upload.fileUploadId, upload]));
  const unanswered = new Set(uploads.filter(isUnanswered).map(({ file }) => file.name));
  return [...batch.fileUploads.values()]
    .filter(({ fileUploadId, filename }) => answered.has(fileUploadId) || !unanswered.has(filename))
    .filter(({ filename }) => filename !== "" || unanswered.size === 0)
    .map(({ fileUploadId, filename, status, assignedEssayId, errorDetail }) => ({
      // Its upload's key, so that its row stays the same one when the answer comes.
      ...{ key: answered.get(fileUploadId)?.key ?? fileUploadId, filename: filename || "A file without a name", status, trackingId: fileUploadId },
      ...{ essayId: assignedEssayId, error: errorDetail, upload: answered.get(fileUploadId) },
    }));
}

/** The service may have it: that is known when it answers, now or to the next try. */
const isUnanswered = ({ state, problem }: Upload): boolean => state === "sending" || problem?.code === "unreachable";

function rowOfUpload(upload: Upload): Row {
  const { key, file, state, problem } = upload;
  const row = { key, filename: file.name, upload };
  if (state === "aborted") return { ...row, status: "failed", error: { code: "aborted", message: "You stopped it." } };
  if (!problem) return { ...row, status: "uploading" };
  const doubt = "The server did not answer, so nobody knows whether it arrived. Try again: it will not be doubled.";
  const message = isUnanswered(upload) ? doubt : `It was not sent. ${problem.detail}`;
  return { ...row, status: "failed", error: { code: problem.code, message } };
}

const collator = new Intl.Collator(undefined, { numeric: true });

const byName = (one: Row, other: Row): number =>
  collator.compare(one.filename, other.filename) || (one.key < other.key ? -1 : 1);
