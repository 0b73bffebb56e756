/** Sends files to the File Service, each in a request of its own: with progress, abort and retry, and never twice. */

import type { UploadedFile } from "../state/facts.ts";
import type { Problem, TokenReason } from "../types.ts";

/** One file on its way to the File Service. Replaced by a new object whenever something changes. */
export interface Upload {
  /** Made here; sent as `Idempotency-Key`, the same for every try, so that a retry never doubles the file. */
  readonly key: string;
  readonly batchId: string;
  readonly file: File;
  readonly state: "queued" | "sending" | "sent" | "failed" | "aborted";
  /** How much of it is sent, from 0 to 1. */
  readonly progress: number;
  /** The tracking id of the file, once it is sent. */
  readonly fileUploadId?: string;
  /** Ties together all that this upload causes, once it is sent. */
  readonly correlationId?: string;
  /** Why it failed. */
  readonly problem?: Problem | undefined;
}

export interface UploaderOptions {
  /** The File Service's `POST /v1/files/batch`. */
  readonly url: string;
  /** As for `connect`. Asked for every file; with `rejected` after a 401, once. */
  readonly token: (why: TokenReason, signal: AbortSignal) => Promise<string> | string;
  /** Called with every file that the service has taken: give it `store.uploaded`. */
  readonly uploaded?: (file: UploadedFile) => void;
  /** How many files are sent at a time. */
  readonly parallel?: number;
  /** After so long without any progress a try has failed. */
  readonly stalledMs?: number;
}

export interface Uploader {
  /** All that were added, in that order: the same array until something changes. */
  uploads(): readonly Upload[];
  /** Called after each change; returns how to end that. */
  subscribe(listener: () => void): () => void;
  /** Sends files, as soon as it is their turn. */
  add(batchId: string, files: Iterable<File>): readonly Upload[];
  /** Tries again what has failed or was aborted, with the same key. */
  retry(key: string): void;
  /** Stops what is queued or being sent. The service may have it already. */
  abort(key: string): void;
}

/** An uploader without files. Its methods need no `this`. */
export function createUploader({ url, token, uploaded, parallel = 3, stalledMs = 30_000 }: UploaderOptions): Uploader {
  const listeners = new Set<() => void>();
  const sending = new Map<string, AbortController>();
  let uploads: readonly Upload[] = [];

  const set = (next: readonly Upload[]): void => {
    uploads = next;
    listeners.forEach(async (listener) => listener()); // what one throws is reported, and stops no other
  };
  const change = (key: string, to: Partial<Upload>): void =>
    set(uploads.map((upload) => (upload.key === key ? { ...upload, ...to } : upload)));
  const isOneOf = (key: string, ...states: Upload["state"][]): boolean =>
    uploads.some((upload) => upload.key === key && states.includes(upload.state));

  const sendNext = (): void => {
    const next = uploads.find(({ state }) => state === "queued");
    if (next && sending.size < parallel) {
      void send(next);
      sendNext();
    }
  };
  const send = async (upload: Upload): Promise<void> => {
    const { key, batchId } = upload;
    const controller = new AbortController();
    const { signal } = controller;
    sending.set(key, controller);
    change(key, { state: "sending", progress: 0 });
    const attempt = async (why: TokenReason): Promise<Answer> => {
      const late = new Promise<never>((_, reject) => setTimeout(reject, stalledMs, new Error("No token came.")));
      const bearer = await Promise.race([token(why, signal), late]);
      signal.throwIfAborted();
      return post(url, bearer, upload, signal, stalledMs, (progress) => change(key, { progress }));
    };
    try {
      let answer = await attempt("connect");
      if (answer.status === 401) answer = await attempt("rejected");
      const { fileUploadId, correlationId } = taken(answer);
      void (async () => uploaded?.({ batchId, fileUploadId, filename: upload.file.name, timestamp: new Date().toISOString() }))();
      change(key, { state: "sent", progress: 1, fileUploadId, correlationId });
    } catch (thrown) {
      if (signal.aborted) return;
      const problem = thrown instanceof Error ? { code: "token_unavailable", detail: thrown.message, retryable: true } : (thrown as Problem);
      change(key, { state: "failed", problem });
    }
    sending.delete(key);
    sendNext();
  };

  return {
    uploads: () => uploads,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    add: (batchId, files) => {
      const added = Array.from(files, (file): Upload => ({ key: newKey(), batchId, file, state: "queued", progress: 0 }));
      set([...uploads, ...added]);
      sendNext();
      return added;
    },
    retry: (key) => {
      if (!isOneOf(key, "failed", "aborted")) return;
      change(key, { state: "queued", progress: 0, problem: undefined });
      sendNext();
    },
    abort: (key) => {
      if (!isOneOf(key, "queued", "sending")) return;
      sending.get(key)?.abort();
      sending.delete(key);
      change(key, { state: "aborted" });
      sendNext();
    },
  };
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** `crypto.randomUUID` is missing on pages that came without TLS. */
const newKey = (): string => crypto.getRandomValues(new Uint32Array(4)).join("-");

/** Rejects with a `Problem` when there is no answer: then nobody knows whether the file arrived. */
function post(
  url: string,
  token: string,
  { key, batchId, file }: Upload,
  signal: AbortSignal,
  stalledMs: number,
  onProgress: (progress: number) => void,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = (): void => request.abort();
    let timer = setTimeout(stop, stalledMs);
    request.upload.onprogress = ({ loaded, total }) => {
      clearTimeout(timer);
      timer = setTimeout(stop, stalledMs);
      onProgress(total ? loaded / total : 0);
    };
    request.onloadend = () => {
      clearTimeout(timer);
      const { status } = request;
      if (status) resolve({ status, body: request.response });
      else reject({ code: "unreachable", detail: "The server did not answer.", retryable: true } satisfies Problem);
    };
    signal.onabort = stop;
    request.open("POST", url);
    request.responseType = "json";
    request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.setRequestHeader("Idempotency-Key", key);
    const form = new FormData();
    form.append("batch_id", batchId);
    form.append("files", file);
    request.send(form);
  });
}

/** What the service says of the file that it has taken. Throws a `Problem` where it has not. */
function taken({ status, body }: Answer): { fileUploadId: string; correlationId: string } {
  const answer = body as Partial<{ files: { file_upload_id: string }[]; correlation_id: string; code: string; detail: unknown }> | null;
  const fileUploadId = answer?.files?.[0]?.file_upload_id;
  if (fileUploadId) return { fileUploadId, correlationId: answer.correlation_id ?? "" };
  const { code = `http_${status}`, detail } = answer ?? {};
  throw {
    code,
    detail: typeof detail === "string" ? detail : `The server answered ${status}.`,
    retryable: status >= 500 || status === 429 || status === 408,
  } satisfies Problem;
}
