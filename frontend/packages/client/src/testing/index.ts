/** A Doorstep in memory, for the tests of a page: `connect({ ...gateway, url, load })`. It speaks the same protocol. */

import { POLL_DEFAULT_LIMIT } from "../contract.generated.ts";
import type { Answer, EventName, Notification, Socket, SocketListener, Transports } from "../types.ts";

export interface Gateway {
  /** For `connect`. */
  readonly transports: Transports;
  /** For `connect`: a token that is good until the next `expire()`. */
  readonly token: () => string;
  /** How many sockets are open now. */
  readonly sockets: number;
  /** How many requests of each kind there were. */
  readonly requests: { readonly sockets: number; readonly polls: number };
  /** The cursors of all acknowledgements, as `receipts()` sends them. */
  readonly acknowledged: readonly string[];
  /** How far the user has read, as `createUnread()` tells it, on whatever device; 0: nothing. */
  readonly read: number;
  /** Something happens: every connected client hears of it, the others when they are back. */
  publish<E extends EventName>(event: E, data: Notification<E>["data"], rest?: Partial<Notification<E>>): Notification<E>;
  /** Every socket ends without a word, as when a cable is pulled, or with a close code. */
  drop(code?: number): void;
  /** Nothing is answered any more, and nobody is told; returns how to end that. */
  hang(): () => void;
  /** All tokens so far are refused from now on, and their sockets are closed. */
  expire(): void;
  /** The log is lost: every client is told to fetch its state anew. */
  reset(reason?: string): void;
  /** Every new socket and poll is refused, for 200: sockets only, as by a proxy; returns how to end that. */
  refuse(status: number, retryAfterMs?: number): () => void;
  /** Whatever the server says takes so long from now on. */
  later(ms: number): void;
}

interface Session extends Position {
  readonly token: string;
  say(message: object): void;
  end(code: number): void;
}

interface Position {
  seq: number;
  chain: number;
}

/** A server with one user, whose log is empty. */
export function createGateway(): Gateway {
  const sessions = new Set<Session>();
  const pending = new Set<() => void>();
  const requests = { sockets: 0, polls: 0 };
  const acknowledged: string[] = [];
  let log: Notification[] = [];
  let chain = 0;
  let read = 0;
  let generation = 0;
  let delayMs = 0;
  let ids = 0;
  let isHung = false;
  let refusal: Answer | undefined;

  const cursorAt = (seq: number) => `${seq}-${chain.toString(16).padStart(16, "0")}`;
  const soon = (what: () => void) => setTimeout(() => isHung || what(), delayMs);

  /** Where a cursor stands; at the head with a reason where it can't be continued. */
  function find(cursor: string): Position & { lost?: string } {
    const seq = cursor ? parseInt(cursor) : log.length;
    const isKnown = !cursor || (cursor === cursorAt(seq) && seq <= log.length);
    return isKnown ? { seq, chain } : { seq: log.length, chain, lost: "gone" };
  }

  function isRefused(token: string): Answer | undefined {
    return token === tokenOf(generation) ? refusal : problem(401, "token_expired");
  }

  function socket(url: string, protocols: string[], listener: SocketListener): Socket {
    requests.sockets += 1;
    const token = (protocols[1] ?? "").replace("bearer.", "");
    let isOpen = true;
    const session: Session = {
      ...find(""),
      token,
      say: (message) => soon(() => isOpen && listener.message(JSON.stringify(message))),
      end(code) {
        sessions.delete(session);
        soon(() => isOpen && listener.closed(code));
      },
    };
    soon(() => {
      if (isRefused(token)) session.end(1006);
      else if (isOpen) open(session, queryOf(url, "cursor"));
    });
    return {
      send: (text) => soon(() => isOpen && operate(session, JSON.parse(text))),
      close() {
        isOpen = false;
        sessions.delete(session);
      },
    };
  }

  function open(session: Session, cursor: string): void {
    const { lost, ...position } = find(cursor);
    sessions.add(Object.assign(session, position));
    const head = cursorAt(position.seq);
    session.say({ event: "doorstep.welcome", cursor: head, data: { user_id: "user", cursor: head, resumed: cursor === head, reset: lost ?? null, ...readState(), ping_interval_ms: 25_000 } });
    catchUp(session);
  }

  function catchUp(session: Session): void {
    for (const notification of log.slice(session.seq)) session.say(notification);
    session.seq = log.length;
  }

  const readState = () => ({ read, unread: log.length - read });

  /** The user has read up to a cursor of this log, and further than is known. */
  function markRead(cursor: string): void {
    const seq = parseInt(cursor);
    if (!(seq > read) || seq > log.length || cursor !== cursorAt(seq)) return;
    read = seq;
    for (const session of sessions) session.say({ event: "doorstep.read", data: readState() });
    pending.forEach((look) => look());
  }

  function operate(session: Session, operation: { op: string; cursor?: string }): void {
    if (operation.op === "ack" && operation.cursor) acknowledged.push(operation.cursor);
    else if (operation.op === "read" && operation.cursor) markRead(operation.cursor);
    else if (operation.op === "ping") session.say({ event: "doorstep.pong", data: {} });
    else if (operation.op === "refresh") session.say({ event: "doorstep.refreshed", data: {} });
  }

  function get(url: string, token: string, signal: AbortSignal): Promise<Answer> {
    requests.polls += 1;
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
      const waitMs = 1000 * Number(queryOf(url, "wait"));
      const readBefore = read;
      const answer = (isLast: boolean) => {
        const refused = isRefused(token);
        const body = page(queryOf(url, "after"));
        if (refused && refused.status !== 200) resolve(refused);
        else if (isLast || body.reset || body.read !== readBefore || body.notifications.length) resolve({ status: 200, body });
        else return;
        pending.delete(look);
      };
      const look = () => soon(() => answer(false));
      pending.add(look);
      soon(() => answer(!waitMs));
      soon(() => markRead(queryOf(url, "read")));
      setTimeout(() => soon(() => answer(true)), waitMs);
    });
  }

  function page(after: string): { notifications: Notification[]; cursor: string; reset: boolean; read: number } {
    const { seq, lost } = find(after);
    const notifications = log.slice(seq, seq + POLL_DEFAULT_LIMIT);
    return { notifications, cursor: cursorAt(seq + notifications.length), reset: lost !== undefined, read };
  }

  function tellAll(): void {
    sessions.forEach(catchUp);
    pending.forEach((look) => look());
  }

  return {
    transports: { socket, get },
    token: () => tokenOf(generation),
    requests,
    acknowledged,
    get read() {
      return read;
    },
    get sockets() {
      return sessions.size;
    },
    publish(event, data, rest) {
      const seq = log.length + 1;
      const cursor = cursorAt(seq);
      const id = `event-${++ids}`;
      const timestamp = new Date().toISOString();
      const notification = { event, id, correlation_id: id, timestamp, data, ...rest, seq, cursor };
      log.push(notification as Notification);
      tellAll();
      return notification;
    },
    drop: (code = 1006) => sessions.forEach((session) => session.end(code)),
    hang() {
      isHung = true;
      return () => {
        isHung = false;
      };
    },
    expire() {
      generation += 1;
      sessions.forEach((session) => session.end(4001));
    },
    reset(reason = "gone") {
      log = [];
      read = 0;
      chain += 1;
      const cursor = cursorAt(0);
      for (const session of sessions) {
        session.seq = 0;
        session.say({ event: "doorstep.reset", cursor, data: { reason, cursor } });
        session.say({ event: "doorstep.read", data: readState() });
      }
      tellAll();
    },
    refuse(status, retryAfterMs = 0) {
      const mine = { ...problem(status, `refused_${status}`), retryAfterMs };
      refusal = mine;
      return () => {
        if (refusal === mine) refusal = undefined;
      };
    },
    later(ms) {
      delayMs = ms;
    },
  };
}

/** As a JWT is: whose it is can be read. */
function tokenOf(generation: number): string {
  return `head.${btoa(JSON.stringify({ sub: "user", jti: generation }))}.signature`;
}

function problem(status: number, code: string): Answer {
  return { status, body: { code, detail: code, status } };
}

function queryOf(url: string, name: string): string {
  return new URL(url).searchParams.get(name) ?? "";
}
