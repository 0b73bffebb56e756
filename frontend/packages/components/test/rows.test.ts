import { type BatchState, createBatchStore } from "@doorstep/client/state";
import type { Upload } from "@doorstep/client/upload";
import { expect, test } from "vitest";
import { rowsOf } from "../src/rows.ts";
import { newsOf, sentenceOf, summaryOf } from "../src/sentences.ts";

const TIME = "2026-11-23T08:15:30Z";

const upload = (name: string, to: Partial<Upload>): Upload => ({
  ...{ key: `key-${name}`, batchId: "b1", file: new File(["x"], name), state: "queued", progress: 0 },
  ...to,
});
const slot = (id: string, name?: string): object => ({ batch_id: "b1", essay_id: `essay-${id}`, file_upload_id: id, text_storage_id: "t", original_file_name: name });
const failure = (id: string, name: string): object => ({
  ...{ batch_id: "b1", file_upload_id: id, original_file_name: name },
  ...{ error_code: "EMPTY_CONTENT", message: "The file has no text in it." },
});

/** The state after these: an essay for each of `essays`, a failure for each of `failures`. */
function stateOf(essays: readonly (readonly [string, string | undefined])[], failures: readonly (readonly [string, string])[] = []): BatchState {
  const store = createBatchStore();
  for (const [id, name] of essays) store.notified({ event: "essay.slot.assigned", timestamp: TIME, data: slot(id, name) });
  for (const [id, name] of failures) store.notified({ event: "essay.validation.failed", timestamp: TIME, data: failure(id, name) });
  return store.batch("b1");
}

test("files come in the order in which people count, from the state and from this page's uploads", () => {
  const batch = stateOf([["f1", "essay 10.txt"], ["f2", "essay 2.txt"]], [["f3", "Essay 3.txt"]]);
  const uploads = [upload("essay 1.txt", { state: "sending" }), upload("b2.txt", { batchId: "b2" })];
  expect(rowsOf(batch, uploads).map(({ filename, status }) => [filename, status])).toEqual([
    ["essay 1.txt", "uploading"],
    ["essay 2.txt", "assigned"],
    ["Essay 3.txt", "failed"],
    ["essay 10.txt", "assigned"],
  ]);
});

test("an essay that comes before the upload's answer is no second row", () => {
  const sending = [upload("a.txt", { state: "sending" })];
  for (const name of ["a.txt", undefined]) {
    const batch = stateOf([["f1", name]]);
    expect(rowsOf(batch, sending).map(({ status }) => status)).toEqual(["uploading"]);
    const answered = [upload("a.txt", { state: "sent", fileUploadId: "f1" })];
    expect(rowsOf(batch, answered)).toMatchObject([{ status: "assigned", trackingId: "f1", essayId: "essay-f1" }]);
  }
});

test("what was not sent says so, and why", () => {
  const problem = { code: "too_large", detail: "The file is too large.", retryable: false };
  const uploads = [upload("a.txt", { state: "failed", problem }), upload("b.txt", { state: "aborted" })];
  expect(rowsOf(stateOf([]), uploads).map(({ error }) => error?.message)).toEqual([
    "It was not sent. The file is too large.",
    "You stopped it.",
  ]);
});

test("an upload without an answer is one row in doubt, and the same row when it is an essay", () => {
  const problem = { code: "unreachable", detail: "", retryable: true };
  const batch = stateOf([["f1", "a.txt"]]);
  const [row, ...others] = rowsOf(batch, [upload("a.txt", { state: "failed", problem })]);
  expect([row?.status, row?.error?.message, others]).toEqual(["failed", expect.stringContaining("nobody knows"), []]);
  const [same] = rowsOf(batch, [upload("a.txt", { state: "sent", fileUploadId: "f1" })]);
  expect([same?.status, same?.key]).toEqual(["assigned", row?.key]);
});

test("a burst is one sentence, and names the files that failed", () => {
  const before = stateOf([["f1", "a"]]);
  expect(newsOf(before, before)).toBe("");
  expect(newsOf(before, stateOf([["f1", "a"], ["f2", "b"]]))).toBe("1 file has become an essay.");
  const essays = ["f1", "f2", "f3"].map((id) => [id, id] as const);
  expect(newsOf(before, stateOf(essays, [["x1", "Tom.txt"]]))).toBe(
    "2 files have become essays. Tom.txt failed: The file has no text in it.",
  );
  const failed = ["1", "2", "3", "4", "5"].map((id) => [`x${id}`, `${id}.txt`] as const);
  expect(newsOf(before, stateOf([], failed))).toBe("5 files failed: 1.txt, 2.txt, 3.txt and 2 more.");
});

test("the summary counts", () => {
  expect(summaryOf([])).toBe("No files yet.");
  expect(summaryOf(rowsOf(stateOf([["f1", "a"]]), []))).toBe("1 of 1 file is an essay.");
  const rows = rowsOf(stateOf([["f1", "a"]], [["f2", "b"]]), [upload("c", {}), upload("d", { state: "sending" })]);
  expect(summaryOf(rows)).toBe("1 of 4 files are essays, 1 failed, 2 are on their way.");
});

test("every state of a connection has its sentence", () => {
  const because = { code: "unreachable", detail: "The server did not answer.", retryable: true };
  expect(sentenceOf({ state: "waiting", retryInMs: 400, because })).toBe(
    "No connection. The server did not answer. Trying again in 1 second.",
  );
  expect(sentenceOf({ state: "blocked", because })).toBe("Not connected. The server did not answer.");
  const unnamed = { ...because, code: "closed_4003", detail: "closed_4003" };
  expect(sentenceOf({ state: "blocked", because: unnamed })).toBe("Not connected. For support: closed_4003");
  const plain = ["idle", "connecting", "live", "polling", "offline", "stopped"] as const;
  expect(new Set(plain.map((state) => sentenceOf({ state }))).size).toBe(5);
});
