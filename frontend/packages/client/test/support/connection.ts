import type { AnyNotification, Connection, Status } from "../../src/types.ts";

/** A connection in the test's hand: it is what `set` says, and tells what `tell` is given. */
export class HandConnection implements Connection {
  status: Status = { state: "idle" };
  readonly calls: string[] = [];
  readonly #listeners = new Set<() => void>();
  readonly #readers = new Map<(notification: never) => void, string>();

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };
  on = (event: string, listener: (notification: never) => void): (() => void) => {
    this.#readers.set(listener, event);
    return () => void this.#readers.delete(listener);
  };
  onAny = (listener: (notification: AnyNotification) => void): (() => void) => this.on("*", listener);
  start = (): void => void this.calls.push("start");
  stop = (): void => void this.calls.push("stop");
  retryNow = (): void => void this.calls.push("retryNow");
  logout = (): void => void this.calls.push("logout");

  /** How many listeners there are, of any kind. */
  get listeners(): number {
    return this.#listeners.size + this.#readers.size;
  }

  set(status: Status): void {
    this.status = status;
    for (const listener of this.#listeners) listener();
  }

  tell(notification: AnyNotification): void {
    for (const [reader, event] of this.#readers)
      if (event === "*" || event === notification.event) reader(notification as never);
  }
}

/** That a file has become an essay, as number `seq`. */
export const assigned = (seq: number, data: { file_upload_id: string; essay_id: string; batch_id?: string }): AnyNotification => ({
  event: "essay.slot.assigned",
  id: `id-${seq}`,
  seq,
  cursor: `${seq}-0000000000000000`,
  correlation_id: "c",
  timestamp: "2026-11-23T08:15:30Z",
  data: { batch_id: "b1", text_storage_id: "t", original_file_name: null, ...data },
});
