import type { Upload, Uploader } from "@doorstep/client/upload";

/** An uploader in the test's hand: it sends nothing. */
export class HandUploader implements Uploader {
  readonly calls: string[] = [];
  readonly #listeners = new Set<() => void>();
  #uploads: readonly Upload[] = [];

  uploads = (): readonly Upload[] => this.#uploads;
  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };
  add = (batchId: string, files: Iterable<File>): readonly Upload[] => {
    const added = Array.from(files, (file): Upload => ({ key: `key-${file.name}`, batchId, file, state: "queued", progress: 0 }));
    this.set([...this.#uploads, ...added]);
    return added;
  };
  retry = (key: string): void => this.change(key, { state: "sending", problem: undefined });
  abort = (key: string): void => this.change(key, { state: "aborted" });

  set(uploads: readonly Upload[]): void {
    this.#uploads = uploads;
    for (const listener of this.#listeners) listener();
  }

  change(key: string, to: Partial<Upload>): void {
    this.calls.push(`${key} ${to.state}`);
    this.set(this.#uploads.map((upload) => (upload.key === key ? { ...upload, ...to } : upload)));
  }

  /** One in every state. */
  fill(batchId: string): void {
    const states: Upload["state"][] = ["queued", "sending", "sent", "failed", "aborted"];
    this.add(batchId, states.map((state) => new File(["x"], `${state}.txt`)));
    for (const state of states) this.change(`key-${state}.txt`, { state, progress: 0.4 });
    this.change("key-sent.txt", { fileUploadId: "3b1e6a52-0000-4000-8000-000000000009", correlationId: "c1" });
    const problem = { code: "unreachable", detail: "The server did not answer.", retryable: true };
    this.change("key-failed.txt", { problem });
  }
}
