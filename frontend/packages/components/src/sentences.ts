/** What is said aloud, and written above the list. Pure. */

import type { Problem, Status } from "@doorstep/client";
import type { BatchState, FileStatus, FileUploadState } from "@doorstep/client/state";
import type { Row } from "./rows.ts";

const NAMES = 3;

/** What has become of files between two states, in one sentence or two; empty if nothing has. */
export function newsOf(before: BatchState, after: BatchState): string {
  const news = [...after.fileUploads.values()].filter(
    ({ fileUploadId, status }) => status !== before.fileUploads.get(fileUploadId)?.status,
  );
  const essays = news.filter(({ status }) => status === "assigned").length;
  const failed = news.filter(({ status }) => status === "failed");
  return [essays && `${count(essays, "file has", "files have")} become ${essays === 1 ? "an essay" : "essays"}.`, failures(failed)]
    .filter(Boolean)
    .join(" ");
}

/** "28 of 30 files are essays, 1 failed, 1 is on its way." */
export function summaryOf(rows: readonly Row[]): string {
  const number = (...of: FileStatus[]): number => rows.filter(({ status }) => of.includes(status)).length;
  const [essays, failed, underWay] = [number("assigned"), number("failed"), number("uploading", "processing")];
  if (rows.length === 0) return "No files yet.";
  const parts = [
    `${essays} of ${count(rows.length, "file is an essay", "files are essays")}`,
    failed && `${failed} failed`,
    underWay && count(underWay, "is on its way", "are on their way"),
  ];
  return `${parts.filter(Boolean).join(", ")}.`;
}

/** How the connection is, for a teacher. */
export function sentenceOf(status: Status): string {
  switch (status.state) {
    case "live":
      return "Live: you see everything at once.";
    case "polling":
      return "Live, over a slower path: you see everything within seconds.";
    case "offline":
      return "You are offline. Nothing is lost: it appears when you are back.";
    case "waiting":
      return `No connection.${reason(status.because)} Trying again in ${seconds(status.retryInMs)}.`;
    case "blocked":
      return `Not connected.${reason(status.because) || ` For support: ${status.because.code}`}`;
    case "stopped":
      return "Not connected.";
    default:
      return "Connecting …";
  }
}

/** What a program's error says is nothing for a teacher. */
const WORDS: Readonly<Record<string, string>> = {
  unreachable: "The server did not answer.",
  token_unavailable: "The sign-in service did not answer.",
};

/** What the server said, in its own words. Problems of the client's that have no words have a code only. */
function reason({ code, detail }: Problem): string {
  const words = WORDS[code] ?? detail;
  return words === code ? "" : ` ${words}`;
}

function failures(failed: readonly FileUploadState[]): string {
  const [first] = failed;
  if (!first) return "";
  if (failed.length === 1) return `${named(first)} failed: ${first.errorDetail?.message ?? ""}`;
  const names = failed.slice(0, NAMES).map(named).join(", ");
  const more = failed.length > NAMES ? ` and ${failed.length - NAMES} more` : "";
  return `${failed.length} files failed: ${names}${more}.`;
}

const named = ({ filename }: FileUploadState): string => filename || "A file";
const count = (number: number, one: string, many: string): string => `${number} ${number === 1 ? one : many}`;
const seconds = (ms: number): string => count(Math.max(1, Math.ceil(ms / 1000)), "second", "seconds");
