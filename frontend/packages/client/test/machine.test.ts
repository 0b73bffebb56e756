import { expect, test } from "vitest";

import { initial, step, type Effect, type Input, type State } from "../src/machine.ts";

/** Feeds one input after the other at the same moment; returns the state and all effects. */
function run(inputs: Input[], state: State = initial(), now = 1): [State, Effect[]] {
  const all: Effect[] = [];
  for (const input of inputs) {
    const [next, effects] = step(state, input, { now, random: 0.5 });
    state = next;
    all.push(...effects);
  }
  return [state, all];
}

const done = (id: number, result: unknown): Input => ({ type: "done", id, result });
const message = (id: number, said: object): Input => ({ type: "message", id, message: said });
const welcome = (id: number, cursor: string, resumed = false) => message(id, { event: "doorstep.welcome", cursor, data: { resumed } });
const notification = (id: number, seq: number) => message(id, { event: "e", id: `e${seq}`, seq, cursor: `${seq}-0` });
const answer = (id: number, body: object) => done(id, { status: 200, body });
const kinds = (effects: Effect[]) => effects.map(({ type }) => type);

const [live] = run([{ type: "start" }, done(1, "token"), welcome(2, "0-0"), done(3, undefined)]);

test("it connects with a token, then loads from the cursor", () => {
  const [state, effects] = run([{ type: "start" }, done(1, "token"), welcome(2, "0-0")]);
  expect(kinds(effects)).toEqual(["token", "drop", "socket", "load"]);
  expect(state).toMatchObject({ phase: "live", cursor: "0-0", need: "start", status: { state: "live" } });
});

test("a notification that is missing is asked for again with the cursor", () => {
  const [state, effects] = run([notification(2, 1), notification(2, 3)], live);
  expect(kinds(effects)).toEqual(["deliver", "drop"]);
  expect(state).toMatchObject({ phase: "waiting", cursor: "1-0", status: { because: { code: "gap" } } });
});

test("a notification that came already changes nothing", () => {
  const [, effects] = run([notification(2, 1), notification(2, 1)], live);
  expect(kinds(effects)).toEqual(["deliver"]);
});

test("what is heard of something that was dropped changes nothing", () => {
  const [stopped] = run([{ type: "stop" }], live);
  const [state, effects] = run([notification(2, 1), { type: "closed", id: 2, code: 4003 }], stopped);
  expect([state.phase, effects]).toEqual(["stopped", []]);
});

test.each([
  [1000, "waiting"], [1001, "waiting"], [1005, "waiting"], [1006, "waiting"], [1012, "waiting"], [1013, "waiting"],
  [4001, "token"], [4003, "blocked"], [4008, "waiting"], [4009, "blocked"],
])("the close code %i leads to %s", (code, phase) => {
  expect(run([{ type: "closed", id: 2, code }], live)[0].phase).toBe(phase);
});

test("a server that closes says when to come back, and a look at the page does not hurry that", () => {
  const [waiting] = run([message(2, { event: "doorstep.reconnect", data: { after_ms: 1_500 } })], live);
  expect(waiting).toMatchObject({ phase: "waiting", due: { wait: 1_501 } });
  expect(run([{ type: "look", visible: true, online: true }], waiting)[0].phase).toBe("waiting");
  expect(run([{ type: "start" }], waiting)[0].phase).toBe("token");
});

test("a backoff is hurried by a page that is looked at, and by a network that is back", () => {
  const [waiting] = run([{ type: "closed", id: 2, code: 1006 }], live);
  expect(run([{ type: "look", visible: true, online: true }], waiting)[0].phase).toBe("token");
  const [offline] = run([{ type: "look", visible: false, online: false }], waiting);
  expect(offline.status).toEqual({ state: "offline" });
  expect(run([{ type: "look", visible: false, online: true }], offline)[0].phase).toBe("token");
});

test("a page that is hidden sends no ping, and one at once when it is looked at", () => {
  const [hidden] = run([{ type: "look", visible: false, online: true }], live);
  expect(run([{ type: "tick" }], hidden, 11_000)[1]).toEqual([]);
  const [, effects] = run([{ type: "look", visible: true, online: true }], hidden, 3_600_000);
  expect(effects).toEqual([{ type: "send", id: 2, text: '{"op":"ping"}' }]);
});

test("a page that goes into the back-forward cache lets go of everything, and comes back", () => {
  const [frozen, effects] = run([{ type: "pagehide" }], live);
  expect([frozen.phase, frozen.due, kinds(effects)]).toEqual(["frozen", {}, ["drop"]]);
  expect(run([{ type: "pageshow" }], frozen)[0]).toMatchObject({ phase: "token", cursor: "0-0" });
});

test("timers that ran out while the device slept lead to a new connection, not to several", () => {
  const [, effects] = run([{ type: "tick" }], live, 3_600_000);
  expect(kinds(effects).filter((type) => type === "token").length).toBeLessThanOrEqual(1);
});

test("a token is refreshed beside the socket, and asked for again when that takes too long", () => {
  const [asking] = run([message(2, { event: "doorstep.token_expiring", data: { in_ms: 60_000 } })], live);
  const [asked, effects] = run([{ type: "tick" }], asking, 3_000);
  expect(effects).toEqual([{ type: "token", id: 4, why: "refresh" }]);
  expect(run([done(4, "newer")], asked, 3_000)[1]).toEqual([{ type: "send", id: 2, text: '{"op":"refresh","token":"newer"}' }]);
  expect(kinds(run([{ type: "tick" }], asked, 13_000)[1])).toEqual(["send", "drop", "token"]);
});

test("a poll that is reset moves on and loads again", () => {
  const blocked: Input[] = [{ type: "closed", id: 2, code: 1006 }, { type: "start" }, done(4, "token"), { type: "closed", id: 5, code: 1006 }];
  const [asking] = run(blocked, live);
  expect(asking.phase).toBe("asking");
  const [state, effects] = run([answer(6, { notifications: [], cursor: "7-1", reset: true })], asking);
  expect(effects).toContainEqual({ type: "load", id: 7, why: "reset" });
  expect(state).toMatchObject({ cursor: "7-1", seq: 7 });
});

test("a welcome and the reset after it are one reset", () => {
  const [token] = run([{ type: "closed", id: 2, code: 1006 }, { type: "start" }, done(4, "token")], live);
  const [, effects] = run([welcome(5, "3-1"), message(5, { event: "doorstep.reset", cursor: "3-1" })], token);
  expect(effects.filter(({ type }) => type === "load")).toEqual([{ type: "load", id: 6, why: "reset" }]);
});

test("what a proxy says of a refusal is shown as text", () => {
  const [asking] = run([{ type: "closed", id: 2, code: 1006 }, { type: "start" }, done(4, "t"), { type: "closed", id: 5, code: 1006 }], live);
  const refusal = { status: 422, retryAfterMs: -5_000, body: { code: 7, detail: [{ loc: ["body"], msg: "field required" }] } };
  const [{ status, due }] = run([done(6, refusal)], asking);
  expect(status).toMatchObject({ because: { code: "7", detail: "7" } });
  expect(due.retry).toBeGreaterThan(1); // what is no time to wait is none
});

test.each([1000, 1005, 1006])("a close of %i that no server said says nothing: the server is asked why", (code) => {
  const [state, effects] = run([{ type: "start" }, done(1, "token"), { type: "closed", id: 2, code }]);
  expect([state.phase, effects.at(-1)?.type]).toEqual(["asking", "get"]);
});
