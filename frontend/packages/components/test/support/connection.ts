import type { AnyNotification, Connection, Status } from "@doorstep/client";

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

