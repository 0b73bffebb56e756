/** The words of the package: what a page gives to `connect`, and what it gets. */

import type { EventData } from "./contract.generated.ts";

/** An event that has a typed `data`, or any other name. */
export type EventName = keyof EventData | (string & {});

/** What a user gets: one JSON object, as it comes over the wire (docs/protocol.md). */
export interface Notification<E extends EventName = EventName> {
  readonly event: E;
  /** The event's id: the same on every device and after every reconnect. */
  readonly id: string;
  /** 1, 2, 3 … of this user, without a gap. */
  readonly seq: number;
  /** Where the client stands once it has this one. Opaque. */
  readonly cursor: string;
  readonly correlation_id: string;
  /** When it happened, ISO 8601. */
  readonly timestamp: string;
  readonly data: E extends keyof EventData ? EventData[E] : Readonly<Record<string, unknown>>;
  /** W3C trace context, where the event carried one. */
  readonly traceparent?: string;
}

/** Any of the events with a typed `data`: `switch (n.event)` tells which. Others come too, to a `default`. */
export type AnyNotification = { [E in keyof EventData]: Notification<E> }[keyof EventData];

/** Why there is no connection. `code` is for programs, `detail` for people. */
export interface Problem {
  readonly code: string;
  readonly detail: string;
  /** Whether trying again can help without a change of what was asked. */
  readonly retryable: boolean;
}

/** How the connection is. The same object as long as nothing changes: fits `useSyncExternalStore`. */
export type Status =
  | { readonly state: "idle" | "connecting" | "live" | "polling" | "offline" | "stopped" }
  | { readonly state: "waiting"; readonly retryInMs: number; readonly because: Problem }
  | { readonly state: "blocked"; readonly because: Problem };

/** `connect`: a first token. `refresh`: the one in use ends soon. `rejected`: the server refused the last one. */
export type TokenReason = "connect" | "refresh" | "rejected";

/**
 * `start`: the cursor is known, fetch your state. `reset`: notifications were missed, fetch it anew.
 * `unreachable`: there is no server yet; show what you can get without it (a `start` follows).
 */
export type LoadReason = "start" | "reset" | "unreachable";

/** Time and chance. */
export interface Clock {
  /** Milliseconds that never go back; they may stand still while the device sleeps. */
  now(): number;
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
  /** From 0 to less than 1. */
  random(): number;
}

/** What happens on a socket. What it says after `close()` is ignored. */
export interface SocketListener {
  message(text: string): void;
  /** Also when it never opened: then with 1006. */
  closed(code: number): void;
}

/** A socket, such as a `WebSocket`. */
export interface Socket {
  /** Called only after a message has come. */
  send(text: string): void;
  close(): void;
}

/** An answer to a GET. `body` is its JSON, undefined where it is none. */
export interface Answer {
  readonly status: number;
  /** The `Retry-After` header in milliseconds, where there is one. */
  readonly retryAfterMs?: number;
  readonly body: unknown;
}

/** How the server is reached: the browser's own, or the gateway of `@doorstep/client/testing`. */
export interface Transports {
  socket(url: string, protocols: string[], listener: SocketListener): Socket;
  /** Rejects when there is no answer. */
  get(url: string, token: string, signal: AbortSignal): Promise<Answer>;
  /** The page needs no connection for now, or never again. */
  leave?(isLogout: boolean): void;
}

/** What stands between a connection and its transports: made by `tabs()`, `receipts()`, `createUnread()`, each an entry of its own. */
export interface Layer {
  /** What the connection uses instead of `transports`. */
  join(transports: Transports, connection: Connection): Transports;
}

export interface ConnectOptions {
  /** Where Doorstep is: `https://events.example.org`, or with the path `/v1/ws`. */
  readonly url: string;
  /** The user's token. Called anew for every connection; may take its time, fail, and be cancelled. */
  readonly token: (why: TokenReason, signal: AbortSignal) => Promise<string> | string;
  /** Fetches the page's state: called when the cursor is known, so that nothing falls between. */
  readonly load?: (why: LoadReason, signal: AbortSignal) => Promise<void> | void;
  /** Where to go on, instead of at the end of the log. */
  readonly cursor?: string;
  /** `tabs()` of `@doorstep/client/tabs`: the tabs of a user share one connection. */
  readonly tabs?: Layer;
  /** `receipts()` of `@doorstep/client/receipts`: the server is told what was shown. */
  readonly receipts?: Layer;
  /** `createUnread()` of `@doorstep/client/unread`: how many notifications the user has not read. */
  readonly unread?: Layer;
  readonly transports?: Transports;
  readonly clock?: Clock;
}

export interface Connection {
  readonly status: Status;
  /** Called after each change of `status`; returns how to end that. */
  subscribe(listener: () => void): () => void;
  /** Called with each notification of that name, once and in order; returns how to end that. */
  on<E extends EventName>(event: E, listener: (notification: Notification<E>) => void): () => void;
  /** Called with every notification, once and in order; returns how to end that. */
  onAny(listener: (notification: AnyNotification) => void): () => void;
  /** Connect, or try again at once; nothing happens while that is under way. */
  start(): void;
  /** The same, by the name of what it is to a page that waits or is blocked. */
  retryNow(): void;
  /** Close. `start` goes on where it ended. */
  stop(): void;
  /** Close, and forget the cursor. The other tabs of the user close too. */
  logout(): void;
}
