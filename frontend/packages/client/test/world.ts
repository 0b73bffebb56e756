/** Everything around the machine: a server with its log, the page, the network, the time. */

import { initial, nextDue, step, type Effect, type Input, type State } from "../src/machine.ts";
import type { AnyNotification } from "../src/types.ts";

const PAGE_LIMIT = 3;
const CODES = [1000, 1001, 1006, 1011, 1012, 1013, 4001, 4003, 4008];

interface ServerSocket {
  /** Where it stands; undefined: begins at the head. */
  cursor: string | undefined;
  isWelcomed: boolean;
}

type Open = Exclude<Effect, { type: "drop" | "send" | "deliver" }> & { cursor: string | undefined; token: string };

const KINDS = {
  settle: 40, talk: 30, publish: 16, pass: 16, close: 4, look: 4, freeze: 2, halt: 2, lose: 3, say: 3, obstruct: 3,
};

export type Kind = keyof typeof KINDS;

/** How often each kind of thing happens. */
export const WEIGHTS = Object.entries(KINDS) as [Kind, number][];

/** One thing that happens: what, and numbers up to 999 for whatever has to be chosen. */
export type Happening = [what: Kind, first: number, second: number];

export class World {
  state: State = initial();
  now = 1;
  readonly delivered: string[] = [];
  /** What has to be delivered, in order, by what the machine has accepted. */
  readonly expected: string[] = [];
  readonly loads: string[] = [];
  private readonly open = new Map<number, Open>();
  private readonly sockets = new Map<number, ServerSocket>();
  private readonly logs: string[][] = [[]];
  private published = 0;
  private again: string[] = [];
  private visible = true;
  private online = true;
  /** Sockets don't get through. */
  private isObstructed = false;

  /** The log of today; older ones were lost with their numbering. */
  private get log(): string[] {
    return this.logs[this.epoch] as string[];
  }

  private get epoch(): number {
    return this.logs.length - 1;
  }

  get head(): string {
    return `${this.log.length}-${this.epoch}`;
  }

  happen([what, first, second]: Happening): void {
    switch (what) {
      case "settle":
        return this.settle(first, second);
      case "talk":
        return this.talk(first);
      case "publish":
        return this.publish();
      case "pass":
        return this.pass(first < 600 ? nextDue(this.state) - this.now : first * 40, second / 1000);
      case "close":
        return this.close(first, CODES[second % CODES.length] as number);
      case "look":
        if (first % 2) this.visible = second % 2 === 0;
        else this.online = second % 2 === 0;
        return this.feed({ type: "look", visible: this.visible, online: this.online });
      case "freeze":
        return this.feed({ type: first % 2 ? "pagehide" : "pageshow" });
      case "halt":
        return this.feed({ type: first % 4 ? "start" : "stop" });
      case "lose":
        return this.lose(first % 3);
      case "say":
        return this.say(first, ["doorstep.token_expiring", "doorstep.reconnect", "doorstep.pong", "doorstep.new"][second % 4]);
      case "obstruct":
        this.isObstructed = first % 2 === 0;
    }
  }

  /** All is well from now on: whatever was wrong, the client gets to the head by itself. */
  recover(): void {
    this.feed({ type: "pageshow" });
    this.isObstructed = false;
    this.visible = this.online = true;
    this.feed({ type: "look", visible: true, online: true });
    if (["idle", "stopped", "blocked"].includes(this.state.phase)) this.feed({ type: "start" });
    for (let turn = 0; turn < 400 && !this.isDone; turn++) {
      const requests = [...this.open].filter(([, { type }]) => type !== "socket");
      for (const [id] of requests) this.settle(0, 0, id);
      for (const id of [...this.sockets.keys()]) while (this.talkOn(id));
      if (!requests.length) this.pass(nextDue(this.state) - this.now, 0.5);
    }
  }

  get isDone(): boolean {
    const { phase, cursor, held, need } = this.state;
    return (phase === "live" || phase === "polling") && cursor === this.head && !held.length && !need;
  }

  feed(input: Input, random = 0.5): void {
    const before = this.state;
    freeze(before);
    const [after, effects] = step(before, input, { now: this.now, random });
    this.state = after;
    this.expectFrom(before, effects);
    effects.forEach((effect) => this.perform(effect));
    this.check();
  }

  private expectFrom(before: State, effects: Effect[]): void {
    if (before.cursor === this.state.cursor) return;
    const [from, epoch] = partsOf(before.cursor);
    const [to, nextEpoch] = partsOf(this.state.cursor);
    const isToldTo = effects.some((effect) => effect.type === "load" && effect.why !== "unreachable");
    if (isToldTo && (!before.cursor || epoch !== nextEpoch)) return;
    if (epoch !== nextEpoch || to < from) throw new Error(`moved from ${before.cursor} to ${this.state.cursor} in silence`);
    const known = new Set(this.expected);
    this.expected.push(...(this.logs[epoch] as string[]).slice(from, to).filter((id) => !known.has(id)));
  }

  private perform(effect: Effect): void {
    if (effect.type === "deliver") this.delivered.push(effect.notification.id);
    else if (effect.type === "drop") {
      this.open.delete(effect.id);
      this.sockets.delete(effect.id);
    } else if (effect.type === "send") {
      if (JSON.parse(effect.text).op === "ping" && !this.visible) throw new Error("a ping of a hidden page");
    } else {
      if (effect.type === "load") this.loads.push(effect.why);
      this.open.set(effect.id, { ...effect, cursor: this.state.cursor, token: this.state.token });
      if (effect.type === "socket") this.sockets.set(effect.id, { cursor: this.state.cursor, isWelcomed: false });
    }
  }

  /** What holds in every state. */
  private check(): void {
    const { phase, status, due, need, held, load, visible, cursor } = this.state;
    const all = [...this.delivered, ...held.map(({ id }) => id)];
    if (all.join() !== this.expected.join()) throw new Error(`got ${all}, not ${this.expected}`);
    const leadsOn = {
      idle: true, stopped: true, blocked: true, frozen: true,
      token: due.deadline, opening: due.deadline, asking: due.deadline,
      live: !visible || due.quiet || due.pong, polling: due.deadline || due.poll, waiting: due.retry || due.wait,
    }[phase];
    if (!leadsOn) throw new Error(`stuck: ${phase}`);
    if ((phase === "live" || phase === "polling") && (!cursor || (need && !due.load))) throw new Error(`no state, and no load`);
    if (held.length && phase === "live" && !load) throw new Error("held for nothing");
    if (due.deadline && phase === "live") throw new Error("a deadline of nothing");
    const { main, trial, refresh } = this.state;
    const forgotten = [...this.open.keys()].filter((id) => ![main, trial, refresh, load].includes(id));
    if (forgotten.length) throw new Error(`under way and forgotten: ${forgotten}`);
    if (due.retry && due.retry > this.now + 30_000) throw new Error("too long a backoff");
    if (Object.values(due).some((at) => !(at <= this.now + 300_000))) throw new Error(`too long a wait: ${JSON.stringify(due)}`);
    if (status.state === "waiting" && !(status.retryInMs >= 0)) throw new Error(`waits ${status.retryInMs}`);
  }

  private pass(ms: number, random: number): void {
    if (ms === Infinity) return;
    this.now += Math.max(0, ms);
    this.feed({ type: "tick" }, random);
  }

  private publish(): void {
    this.log.push(this.again.shift() ?? `e${++this.published}`);
  }

  /** The server loses its log; some of what was last in it is going to be appended again. */
  private lose(again: number): void {
    this.again = this.log.slice(this.log.length - again);
    this.logs.push([]);
  }

  /** A request is answered, well or ill. */
  private settle(which: number, how: number, id = pick([...this.open.keys()], which)): void {
    const request = id === undefined ? undefined : this.open.get(id);
    if (id === undefined || !request || request.type === "socket") return;
    this.open.delete(id);
    const fault = how < 850 ? 0 : how % 8;
    if (fault === 1) this.feed({ type: "failed", id, detail: "no" });
    else if (request.type === "get") this.feed({ type: "done", id, result: this.answer(request, fault) });
    else this.feed({ type: "done", id, result: request.type === "token" ? `token${how % 5}` : undefined });
  }

  private answer({ cursor }: Open, fault: number): unknown {
    const refusal = { 2: 401, 3: 403, 4: 429, 5: 503, 6: 502 }[fault];
    if (refusal) return { status: refusal, retryAfterMs: fault === 4 ? 10_000 : 0, body: { code: "no", detail: "no" } };
    if (fault === 7) return { status: 200, retryAfterMs: 0, body: { garbage: [] } };
    return { status: 200, retryAfterMs: 0, body: this.page(cursor) };
  }

  private page(cursor: string | undefined): unknown {
    const [seq, epoch] = partsOf(cursor);
    if (!cursor) return { notifications: [], cursor: this.head, reset: false };
    if (epoch !== this.epoch) return { notifications: [], cursor: this.head, reset: true };
    const ids = this.log.slice(seq, seq + PAGE_LIMIT);
    const notifications = ids.map((id, index) => this.notification(seq + index + 1, id));
    return { notifications, cursor: `${seq + ids.length}-${epoch}`, reset: false };
  }

  private notification(seq: number, id: string): AnyNotification {
    return { event: "e", id, seq, cursor: `${seq}-${this.epoch}`, correlation_id: "", timestamp: "", data: {} } as never;
  }

  /** The server says the next thing on a socket. */
  private talk(which: number): void {
    const id = pick([...this.sockets.keys()], which);
    if (id === undefined) return;
    if (this.isObstructed) this.end(id, 1006);
    else this.talkOn(id);
  }

  private talkOn(id: number): boolean {
    const socket = this.sockets.get(id);
    if (!socket) return false;
    const [seq, epoch] = partsOf(socket.cursor);
    const isKnown = !!socket.cursor && epoch === this.epoch;
    const say = (message: object) => this.feed({ type: "message", id, message });
    if (!socket.isWelcomed) {
      const cursor = isKnown ? (socket.cursor as string) : this.head;
      const isLost = !!socket.cursor && !isKnown;
      Object.assign(socket, { cursor, isWelcomed: true });
      say({ event: "doorstep.welcome", cursor, data: { resumed: isKnown } });
      if (isLost && this.epoch % 2) say({ event: "doorstep.reset", cursor });
    } else if (!isKnown) {
      socket.cursor = this.head;
      say({ event: "doorstep.reset", cursor: this.head });
    } else if (seq < this.log.length) {
      socket.cursor = `${seq + 1}-${epoch}`;
      say(this.notification(seq + 1, this.log[seq] as string));
    } else return false;
    return true;
  }

  private say(which: number, event: string | undefined): void {
    const id = pick([...this.sockets.keys()].filter((it) => this.sockets.get(it)?.isWelcomed), which);
    if (id !== undefined) this.feed({ type: "message", id, message: { ...(event && { event }), data: { after_ms: 500 } } });
  }

  private close(which: number, code: number): void {
    const id = pick([...this.sockets.keys()], which);
    if (id !== undefined) this.end(id, code);
  }

  private end(id: number, code: number): void {
    this.sockets.delete(id);
    this.open.delete(id);
    this.feed({ type: "closed", id, code });
  }
}

function pick<T>(from: readonly T[], which: number): T | undefined {
  return from[which % from.length];
}

function partsOf(cursor: string | undefined): [seq: number, epoch: number] {
  const [seq = "", epoch = ""] = (cursor || "0-0").split("-");
  return [Number(seq), Number(epoch)];
}

function freeze(state: State): void {
  for (const part of [state, state.due, state.ids, state.held, state.status]) Object.freeze(part);
}
