/** The shell: does what the machine decides, and tells it what comes of it. */

import { POLL_PATH, SUBPROTOCOL, SUBPROTOCOL_PREFIX, WS_PATH } from "./contract.generated.ts";
import { initial, nextDue, step, type Effect, type Input, type Message, type State } from "./machine.ts";
import { watchPage } from "./page.ts";
import { browser } from "./transports/browser.ts";
import type { AnyNotification, Clock, ConnectOptions, Connection, Socket } from "./types.ts";

const system: Clock = {
  now: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer as number),
  random: Math.random,
};

/** A socket, or what ends a request or a call of the page's. */
type UnderWay = Partial<Socket & AbortController>;

type Attempt = Extract<Effect, { type: "token" | "load" | "get" }>;

/** A connection to Doorstep that comes back by itself. It does nothing until `start()`. */
export function connect(options: ConnectOptions): Connection {
  const listeners = new Set<(state: State) => void>();
  const receivers = new Set<(notification: AnyNotification) => void>();
  const { clock = system, transports: own = browser } = options;
  /** Over HTTP, and without the socket's path or a slash at the end. */
  const base = options.url.replace(/^ws/, "http").replace(/(\/v1\/ws)?\/?$/, "");
  const underWay = new Map<number, UnderWay>();
  const waiting: Input[] = [];
  let state = initial(options.cursor);
  let timer: unknown;
  let unwatch: (() => void) | undefined;

  /** One input after the other, also those that come while effects are done; one that fails stops none of the next. */
  function feed(input: Input): void {
    if (waiting.push(input) > 1) return;
    for (; waiting[0]; waiting.shift()) callAll([advance], waiting[0]);
    clock.clearTimeout(timer);
    const due = nextDue(state);
    if (due < Infinity) timer = clock.setTimeout(() => feed({ type: "tick" }), Math.ceil(due - clock.now()));
  }

  function advance(input: Input): void {
    const before = state.status;
    const [next, effects] = step(state, input, { now: clock.now(), random: clock.random() });
    state = next;
    effects.forEach(perform);
    if (next.status !== before) callAll(listeners, next);
  }

  function perform(effect: Effect): void {
    if (effect.type === "deliver") callAll(receivers, effect.notification);
    else if (effect.type === "send") underWay.get(effect.id)?.send?.(effect.text);
    else if (effect.type === "socket") openSocket(effect.id);
    else if (effect.type === "drop") {
      underWay.get(effect.id)?.close?.();
      underWay.get(effect.id)?.abort?.();
      underWay.delete(effect.id);
    } else attempt(effect);
  }

  /** Whatever becomes of it, the machine hears of it once. */
  async function attempt(effect: Attempt): Promise<void> {
    const { id } = effect;
    const controller = new AbortController();
    underWay.set(id, controller);
    const input = await work(effect, controller.signal).then(
      (result): Input => ({ type: "done", id, result }),
      (error): Input => ({ type: "failed", id, detail: `${error}` }),
    );
    underWay.delete(id);
    feed(input);
  }

  async function work(effect: Attempt, signal: AbortSignal): Promise<unknown> {
    if (effect.type === "token") return options.token(effect.why, signal);
    if (effect.type === "load") return options.load?.(effect.why, signal);
    return transports.get(`${base}${POLL_PATH}?wait=${effect.wait}&after=${state.cursor}`, state.token, signal);
  }

  function openSocket(id: number): void {
    const url = `${base.replace("http", "ws")}${WS_PATH}?cursor=${state.cursor}`;
    const closed = (code: number) => feed({ type: "closed", id, code });
    const message = (text: string) => feed({ type: "message", id, message: parsed(text) });
    try {
      underWay.set(id, transports.socket(url, [SUBPROTOCOL, SUBPROTOCOL_PREFIX + state.token.trim()], { message, closed }));
    } catch {
      closed(1006); // a token that no header can hold, or a content security policy
    }
  }

  function begin(): void {
    unwatch ??= watchPage(feed);
    feed({ type: "start" });
  }

  function end(type: "stop" | "logout"): void {
    unwatch?.();
    unwatch = undefined;
    feed({ type });
    transports.leave?.(type === "logout");
  }

  const connection: Connection = {
    get status() {
      return state.status;
    },
    subscribe: (listener) => added(listeners, () => listener()),
    on: (event, listener) => added(receivers, (it) => it.event === event && listener(it as never)),
    onAny: (listener) => added(receivers, (it) => listener(it)),
    start: begin,
    retryNow: begin,
    stop: () => end("stop"),
    logout: () => end("logout"),
  };
  const transports = [options.tabs, options.receipts, options.unread].reduce((wire, layer) => layer?.join(wire, connection) ?? wire, own);
  return connection;
}

/** Empty for what is none of ours: a sign of life all the same. */
function parsed(text: string): Message {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

/** Call them all, now. What one throws is reported as of a promise that nobody handles, and stops no other. */
function callAll<T>(listeners: Iterable<(value: T) => unknown>, value: T): void {
  for (const listener of listeners) void (async () => listener(value))();
}

/** `listener` is one of a kind, so that whoever adds the same twice can end either. */
function added<T>(set: Set<T>, listener: T): () => void {
  set.add(listener);
  return () => set.delete(listener);
}
