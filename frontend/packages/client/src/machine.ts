/**
 * The heart: what a connection does next. Pure: `step(state, input, moment) -> [state, effects]`.
 *
 *     phase     what is under way           what ends it
 *     token     the page's token callback   -> opening; -> asking, where sockets don't get through
 *     opening   a socket's handshake        -> live; refused or late: -> asking
 *     asking    a GET: why was it refused?  -> token (401), waiting, blocked (401 twice, 403), polling (200)
 *     live      a socket                    -> waiting, token, blocked, as the close code says
 *     polling   one GET after the other     -> live, once a socket beside it has proved itself
 *     waiting   a timer                     -> token
 *     frozen    nothing: the page is hidden away (BFCache) -> token
 *     idle, stopped, blocked: nothing until the page says so.
 *
 * Every request, socket and load has an id; what is heard of one that was dropped changes nothing.
 * A timer is an entry of `due`; the shell sends `tick` when the earliest is over.
 */

import { RECONNECT } from "./contract.generated.ts";
import type { Answer, AnyNotification, LoadReason, Problem, Status, TokenReason } from "./types.ts";

const HANDSHAKE_MS = 8_000;
const TOKEN_MS = 10_000;
const QUIET_MS = 10_000;
const PONG_MS = 4_000;
/** A connection that has lived so long is well: the backoff begins anew, and nothing stands in its way. */
const STEADY_MS = 30_000;
/** Whoever loses a connection that was well is back before the user sees it. */
const FIRST_BACKOFF_MS = 250;
const LONGEST_BACKOFF_MS = 30_000;
/** The longest that a server can make a client wait. */
const LONGEST_WAIT_MS = 300_000;
const POLL_WAIT_S = 25;
const POLL_DEADLINE_MS = 33_000;
/** After a poll without news: something on the way may not hold it, or answer at once what it has answered before. */
const POLL_PAUSE_MS = 200;
/** From one socket beside the polls to the next, and how long one has to live before it replaces them. */
const TRIAL_MS = 30_000;
const PROOF_MS = 2_000;
/** Before a refresh, and before it is asked for again. */
const REFRESH_PAUSE_MS = 2_000;
/** How long the page may be without any server before it loads all the same. */
const UNREACHABLE_MS = 3_000;
const LOAD_MS = 10_000;
const RELOAD_MS = 5_000;
/** So many obstructed sockets in a row, or rejected tokens, and we believe it. */
const ENOUGH = 2;
/** Ids that are remembered, as many as a log keeps at least: after a reset the same events may come again. */
const REMEMBERED_IDS = 1_000;

export type Phase =
  | "idle" | "token" | "opening" | "asking" | "live" | "polling" | "waiting" | "frozen" | "blocked" | "stopped";

/** `wait` is a `retry` that the server wanted so late: only `start` and a new network hurry it. */
export type Timer =
  | "retry" | "wait" | "deadline" | "quiet" | "pong" | "steady" | "poll" | "trial" | "proof" | "refresh" | "load";

type Due = Partial<Record<Timer, number>>;

export interface State {
  readonly phase: Phase;
  readonly status: Status;
  readonly online: boolean;
  readonly visible: boolean;
  /** The id that was given out last. */
  readonly lastId: number;
  /** The request or socket of the phase, the socket tried beside polls, the token for a refresh, the load; 0: none. */
  readonly main: number;
  readonly trial: number;
  readonly refresh: number;
  readonly load: number;
  /** When each timer is over. */
  readonly due: Readonly<Due>;
  /** Where the client stands; empty until a server has said so. */
  readonly cursor: string;
  /** The number of the last notification; NaN while it is not known, so that any may be the next. */
  readonly seq: number;
  readonly ids: readonly string[];
  /** The load that is still to be done, and what waits for it. */
  readonly need?: LoadReason | undefined;
  readonly held: readonly AnyNotification[];
  readonly token: string;
  /** In a row: failures, obstructed sockets, rejected tokens. */
  readonly attempts: number;
  readonly obstructed: number;
  readonly rejected: number;
}

/** A message of the server, parsed; anything may be missing. */
export interface Message {
  readonly event?: string;
  readonly seq?: number;
  readonly cursor?: string;
  readonly data?: { readonly resumed?: boolean; readonly after_ms?: number };
}

export type Input =
  | { readonly type: "start" }
  | { readonly type: "stop" }
  | { readonly type: "logout" }
  | { readonly type: "pagehide" }
  | { readonly type: "pageshow" }
  /** How the page is now, which may be as before. */
  | { readonly type: "look"; readonly visible: boolean; readonly online: boolean }
  | { readonly type: "tick" }
  /** A token, an answer, a load. */
  | { readonly type: "done"; readonly id: number; readonly result: unknown }
  /** The same, where it did not come. */
  | { readonly type: "failed"; readonly id: number; readonly detail: string }
  | { readonly type: "message"; readonly id: number; readonly message: Message }
  | { readonly type: "closed"; readonly id: number; readonly code: number };

export type Effect =
  | { readonly type: "token"; readonly id: number; readonly why: TokenReason }
  /** With the token and the cursor of the state. */
  | { readonly type: "socket"; readonly id: number }
  | { readonly type: "get"; readonly id: number; readonly wait: number }
  | { readonly type: "load"; readonly id: number; readonly why: LoadReason }
  | { readonly type: "send"; readonly id: number; readonly text: string }
  /** Close, abort, hear no more of it. */
  | { readonly type: "drop"; readonly id: number }
  | { readonly type: "deliver"; readonly notification: AnyNotification };

/** When it is (ms, never going back), and one number from 0 to less than 1. */
export interface Moment {
  readonly now: number;
  readonly random: number;
}

/** The step that is being taken: the next state, and what belongs to the step only. */
type Draft = { -readonly [K in keyof State]: State[K] } & Moment & { due: Due; readonly effects: Effect[] };
type WithoutId<E> = E extends { id: number } ? Omit<E, "id"> : never;

/** Nothing under way. With a cursor the page has its state already. */
export function initial(cursor = ""): State {
  return {
    phase: "idle", status: { state: "idle" }, online: true, visible: true, due: {}, ids: [], held: [], token: "",
    lastId: 0, main: 0, trial: 0, refresh: 0, load: 0, attempts: 0, obstructed: 0, rejected: 0,
    cursor, seq: parseInt(cursor),
  };
}

/** What follows from an input, and what is to be done about it, in that order. */
export function step(state: State, input: Input, moment: Moment): [State, Effect[]] {
  const s: Draft = { ...state, due: { ...state.due }, ...moment, effects: [] };
  if (!("id" in input) || [s.main, s.trial, s.refresh, s.load].includes(input.id)) {
    INPUTS[input.type](s, input as never);
  }
  return [s, s.effects];
}

/** When the next timer is over; Infinity where none runs. */
export function nextDue({ due }: State): number {
  return Math.min(...Object.values(due), Infinity);
}

/** What each input leads to. One with an id is about something that is under way. */
const INPUTS: { [T in Input["type"]]: (s: Draft, input: Extract<Input, { type: T }>) => void } = {
  start(s) {
    if (!s.main) begin(s);
  },
  stop: (s) => halt(s, "stopped"),
  logout(s) {
    halt(s, "stopped");
    s.cursor = s.token = "";
    s.seq = NaN;
    s.ids = s.held = [];
    s.need = undefined;
  },
  pagehide(s) {
    if (s.main || s.phase === "waiting") halt(s, "frozen", "idle");
  },
  pageshow(s) {
    if (s.phase === "frozen") begin(s);
  },
  look(s, { visible, online }) {
    const wasOnline = s.online;
    s.visible = visible;
    s.online = online;
    if (s.phase !== "waiting") check(s);
    else if (!online) show(s, { state: "offline" });
    else if (!wasOnline || (visible && s.due.retry)) connect(s);
  },
  done(s, { id, result }) {
    if (id === s.load) {
      s.need = undefined;
      endLoad(s);
    } else if (s.phase === "asking" || s.phase === "polling") answered(s, result as Answer);
    else if (!result) failed(s, id);
    else (id === s.main ? useToken : refresh)(s, result as string);
  },
  message(s, { id, message }) {
    const { event, seq, cursor, data } = message;
    heard(s);
    if (event === "doorstep.welcome") {
      if (id === s.trial) after(s, "proof", PROOF_MS);
      else goLive(s, id);
      if (!data?.resumed) stand(s, cursor);
      loadIfNeeded(s);
    } else if (event === "doorstep.reset") stand(s, cursor);
    // When it says; who is sent away again and again does not come before the backoff either.
    else if (event === "doorstep.reconnect") wait(s, (data?.after_ms || 0) + (s.attempts && backOffMs(s)), problem("reconnect"), "wait");
    else if (event === "doorstep.token_expiring") after(s, "refresh", REFRESH_PAUSE_MS);
    else if (seq !== undefined) receive(s, message as AnyNotification);
  },
  closed(s, { id, code }) {
    // Of 1000 the table says that the client closed. We did not: like 1005 and 1006, it is somebody on the way.
    const reconnect = [1000, 1005, 1006].includes(code) ? "" : RECONNECT[code];
    const because = problem(`closed_${code}`);
    if (id === s.trial) dropTrial(s);
    else if (reconnect === "never") block(s, because);
    else if (reconnect === "with_new_token") reject(s, because);
    else if (reconnect) backOff(s, because);
    else lost(s, because);
  },
  failed: (s, { id, detail }) => failed(s, id, detail),
  tick(s) {
    for (let at = nextDue(s); at <= s.now; at = nextDue(s)) {
      const timer = (Object.keys(s.due) as Timer[]).find((name) => s.due[name] === at) as Timer;
      delete s.due[timer];
      TIMERS[timer](s);
    }
  },
};

const TIMERS: Record<Timer, (s: Draft) => void> = {
  retry: connect,
  wait: connect,
  deadline: (s) => (s.phase === "opening" ? ask(s) : failed(s, s.main)),
  quiet: check,
  pong: (s) => lost(s, problem("unreachable")),
  steady(s) {
    s.attempts = s.rejected = 0;
    if (s.phase === "live") s.obstructed = 0;
  },
  poll,
  trial(s) {
    dropTrial(s);
    s.trial = request(s, { type: "socket" });
    after(s, "trial", TRIAL_MS);
  },
  proof: (s) => goLive(s, s.trial),
  refresh(s) {
    drop(s, s.refresh);
    s.refresh = request(s, { type: "token", why: "refresh" });
    after(s, "refresh", TOKEN_MS); // again when that takes too long
  },
  load: (s) => (s.load ? failed(s, s.load) : load(s, s.need ?? "unreachable")),
};

// From phase to phase.

/** Connect afresh: what went wrong before is forgotten. */
function begin(s: Draft): void {
  s.attempts = s.obstructed = s.rejected = 0;
  if (!s.cursor && !s.load) after(s, "load", UNREACHABLE_MS);
  connect(s);
}

function connect(s: Draft, why: TokenReason = "connect"): void {
  enter(s, "token", TOKEN_MS);
  s.main = request(s, { type: "token", why });
}

/** Leave whatever was under way. A load goes on: it does not need us. */
function enter(s: Draft, phase: Phase, deadlineMs = 0, status: Status = { state: deadlineMs ? "connecting" : (phase as "live") }): void {
  drop(s, s.main);
  drop(s, s.trial);
  drop(s, s.refresh);
  s.main = s.trial = s.refresh = 0;
  s.phase = phase;
  s.due = s.due.load ? { load: s.due.load } : {};
  if (deadlineMs) after(s, "deadline", deadlineMs);
  show(s, status);
}

function halt(s: Draft, phase: Phase, state: "idle" | "stopped" = "stopped"): void {
  enter(s, phase, 0, { state });
  drop(s, s.load);
  s.load = 0;
  s.due = {};
}

function wait(s: Draft, wanted: number, because: Problem, timer: Timer = "retry"): void {
  const ms = wanted > 0 ? Math.min(wanted, LONGEST_WAIT_MS) : 0; // what is no time is none
  enter(s, "waiting", 0, s.online ? { state: "waiting", retryInMs: ms, because } : { state: "offline" });
  s.attempts += 1;
  after(s, timer, ms);
}

/** Wait a random part of a time that doubles (full jitter). */
function backOff(s: Draft, because: Problem): void {
  wait(s, backOffMs(s), because);
}

function backOffMs({ random, attempts }: Draft): number {
  return random * Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** attempts);
}

function block(s: Draft, because: Problem): void {
  enter(s, "blocked", 0, { state: "blocked", because: { ...because, retryable: false } });
}

/** The token was not accepted: a new one, once. */
function reject(s: Draft, because: Problem): void {
  s.rejected += 1;
  if (s.rejected < ENOUGH) connect(s, "rejected");
  else block(s, because);
}

function failed(s: Draft, id: number, detail?: string): void {
  if (id === s.load) {
    drop(s, id);
    endLoad(s);
    after(s, "load", RELOAD_MS * (1 + s.random));
  } else if (id === s.refresh) after(s, "refresh", REFRESH_PAUSE_MS);
  else backOff(s, problem(s.phase === "token" ? "token_unavailable" : "unreachable", detail));
}

// Tokens.

function useToken(s: Draft, token: string): void {
  s.token = token;
  if (s.obstructed < ENOUGH) {
    enter(s, "opening", HANDSHAKE_MS);
    s.main = request(s, { type: "socket" });
  } else ask(s);
}

function refresh(s: Draft, token: string): void {
  s.token = token;
  s.refresh = 0;
  delete s.due.refresh;
  send(s, { op: "refresh", token });
}

// Sockets.

function goLive(s: Draft, socket: number): void {
  if (s.main !== socket) drop(s, s.main);
  s.phase = "live";
  s.main = socket;
  s.trial = 0;
  for (const timer of ["deadline", "poll", "trial"] as const) delete s.due[timer];
  after(s, "steady", STEADY_MS);
  heard(s);
  show(s, { state: "live" });
}

/** Something came: the connection is alive. */
function heard(s: Draft): void {
  delete s.due.pong;
  if (s.phase === "live") after(s, "quiet", QUIET_MS);
}

/** Is it still there? Not while the page is hidden, where timers are late and nobody looks. */
function check(s: Draft): void {
  if (s.phase !== "live" || !s.visible || s.due.pong) return;
  send(s, { op: "ping" });
  delete s.due.quiet;
  after(s, "pong", PONG_MS);
}

/** A socket ended, or never opened, and nobody says why. */
function lost(s: Draft, because: Problem): void {
  if (s.due.steady) s.obstructed += 1;
  if (s.phase === "opening" || s.obstructed >= ENOUGH) ask(s);
  else backOff(s, because);
}

// Messages.

/** The server says where we stand: the first time, or because it can't go on where we were. */
function stand(s: Draft, cursor: string | null | undefined): void {
  if (!cursor || cursor === s.cursor) return;
  const why = s.cursor && s.need !== "start" ? "reset" : "start";
  s.cursor = cursor;
  s.seq = parseInt(cursor); // how every cursor begins; of any other nothing is known
  if (s.phase === "polling") {
    drop(s, s.main);
    dropTrial(s);
    poll(s);
  }
  load(s, why);
}

/** Take a notification that comes next, and nothing that is none; false where one is missing. */
function receive(s: Draft, notification: AnyNotification): boolean {
  const { seq, cursor, id } = notification ?? {};
  if (!cursor || !(seq > 0) || seq <= s.seq) return true;
  if (seq > s.seq + 1) {
    backOff(s, problem("gap"));
    return false;
  }
  s.seq = seq;
  s.cursor = cursor;
  if (s.ids.includes(id)) return true;
  s.ids = [...s.ids.slice(1 - REMEMBERED_IDS), id];
  s.held = [...s.held, notification];
  release(s);
  return true;
}

// HTTP.

/** Why was the socket refused? Where sockets don't get through: is anybody there? */
function ask(s: Draft): void {
  enter(s, "asking", HANDSHAKE_MS);
  s.main = request(s, { type: "get", wait: 0 });
}

function poll(s: Draft): void {
  delete s.due.poll;
  after(s, "deadline", POLL_DEADLINE_MS);
  s.main = request(s, { type: "get", wait: POLL_WAIT_S });
}

function answered(s: Draft, answer: Answer): void {
  if (answer.status !== 200) {
    refused(s, answer);
    return;
  }
  const { notifications, cursor, reset } = (answer.body ?? {}) as Partial<PollBody>;
  const before = s.cursor;
  if (!Array.isArray(notifications)) {
    failed(s, s.main);
    return;
  }
  s.main = s.rejected = 0;
  if (reset || !s.cursor) stand(s, cursor);
  loadIfNeeded(s);
  if (!notifications.every((notification) => receive(s, notification)) || s.main) return;
  if (s.phase === "asking") obstructed(s);
  else if (s.cursor === before) after(s, "poll", POLL_PAUSE_MS);
  else poll(s);
}

interface PollBody {
  notifications: AnyNotification[];
  cursor: string | null;
  reset: boolean;
}

/** The server is there and accepts us, but not by a socket. It polls at once; the first time a socket is tried again soon. */
function obstructed(s: Draft): void {
  s.obstructed += 1;
  enter(s, "polling");
  after(s, "steady", STEADY_MS);
  after(s, "trial", s.obstructed < ENOUGH ? backOffMs(s) : TRIAL_MS);
  poll(s);
}

function refused(s: Draft, { status, retryAfterMs, body }: Answer): void {
  const { code = `http_${status}`, detail } = (body ?? {}) as Record<string, unknown>;
  const because = problem(`${code}`, detail);
  if (status === 401) reject(s, because);
  else if (status === 403) block(s, because);
  else if (retryAfterMs! > 0) wait(s, retryAfterMs! + backOffMs(s), because, "wait");
  else backOff(s, because);
}

// A socket beside the polls.

function dropTrial(s: Draft): void {
  drop(s, s.trial);
  s.trial = 0;
  delete s.due.proof;
}

// The page's state. One timer: until there is no server, until a load is late, until it is tried again.

function load(s: Draft, why: LoadReason): void {
  drop(s, s.load);
  s.need = why;
  s.load = request(s, { type: "load", why });
  after(s, "load", LOAD_MS);
}

function loadIfNeeded(s: Draft): void {
  if (s.need && !s.due.load) load(s, s.need);
}

function endLoad(s: Draft): void {
  s.load = 0;
  delete s.due.load;
  release(s);
}

/** Deliver what waits for no load. */
function release(s: Draft): void {
  if (s.load) return;
  for (const notification of s.held) s.effects.push({ type: "deliver", notification });
  s.held = [];
}

// Small things.

function after(s: Draft, timer: Timer, ms: number): void {
  s.due[timer] = s.now + ms;
}

/** Stays the same object while it says the same. */
function show(s: Draft, status: Status): void {
  if ("because" in status || status.state !== s.status.state) s.status = status;
}

function request(s: Draft, effect: WithoutId<Effect>): number {
  const id = (s.lastId += 1);
  s.effects.push({ ...effect, id } as Effect);
  return id;
}

function drop(s: Draft, id: number): void {
  if (id) s.effects.push({ type: "drop", id });
}

function send(s: Draft, operation: object): void {
  s.effects.push({ type: "send", id: s.main, text: JSON.stringify(operation) });
}

/** What a proxy says may be anything; what a page shows is text. */
function problem(code: string, detail?: unknown): Problem {
  return { code, detail: typeof detail === "string" ? detail : code, retryable: true };
}
