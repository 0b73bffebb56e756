import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { connect, type Clock, type ConnectOptions, type Connection } from "../src/index.ts";
import { createGateway, type Gateway } from "../src/testing/index.ts";
import { reportedWhile } from "./support/reported.ts";

let gateway: Gateway;
let connection: Connection;
let seen: number[];
let states: string[];
let loads: string[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  gateway = createGateway();
});

afterEach(() => {
  connection.stop();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function open(options: Partial<ConnectOptions> = {}): void {
  seen = [];
  states = [];
  loads = [];
  const { transports, token } = gateway;
  const load = (why: string) => void loads.push(why);
  const clock = { now: () => performance.now(), setTimeout, clearTimeout, random: () => 0.5 } as Clock;
  connection = connect({ url: "https://events.example.org", transports, token, load, clock, ...options });
  connection.on("essay.slot.assigned", ({ seq }) => seen.push(seq));
  connection.subscribe(() => states.push(connection.status.state));
  connection.start();
}

const publish = () => gateway.publish("essay.slot.assigned", {} as never);
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

test("a page gets its state once the cursor is known, then what happens", async () => {
  publish();
  open();
  await pass(10);
  publish();
  await pass(10);
  expect({ seen, states, loads }).toEqual({ seen: [2], states: ["connecting", "live"], loads: ["start"] });
});

test("the status is the same object until it changes", async () => {
  open();
  await pass(10);
  const { status } = connection;
  publish();
  await pass(10);
  expect(connection.status).toBe(status);
});

test("notifications wait for a load, and come in order after it", async () => {
  let finish = () => {};
  open({ load: () => new Promise<void>((resolve) => (finish = resolve)) });
  await pass(10);
  publish();
  publish();
  await pass(10);
  expect(seen).toEqual([]);
  finish();
  await pass(1);
  expect(seen).toEqual([1, 2]);
});

test("a load that fails or hangs is tried again, and keeps nothing back meanwhile", async () => {
  const signals: AbortSignal[] = [];
  open({
    load(why, signal) {
      loads.push(why);
      signals.push(signal);
      return signals.length === 1 ? Promise.reject(new Error("no")) : new Promise(() => {});
    },
  });
  await pass(10);
  publish();
  await pass(10);
  expect(seen).toEqual([1]);
  await pass(25_000);
  expect(loads.slice(0, 2)).toEqual(["start", "start"]);
  expect(signals[1]?.aborted).toBe(true);
});

test("what was missed while the connection was lost comes after it, once", async () => {
  open();
  await pass(10);
  publish();
  await pass(10);
  gateway.drop();
  publish();
  await pass(2_000);
  expect({ seen, state: connection.status.state, loads }).toEqual({ seen: [1, 2], state: "live", loads: ["start"] });
});

test("a socket on which nothing comes is given up after a ping", async () => {
  open();
  await pass(10);
  const end = gateway.hang();
  await pass(13_900);
  expect(connection.status.state).toBe("live");
  await pass(200);
  expect(connection.status.state).not.toBe("live");
  end();
  publish();
  await pass(20_000);
  expect(seen).toEqual([1]);
});

test("an empty page is worse than an old one: without any server it loads after 3 s", async () => {
  const end = gateway.hang();
  open();
  await pass(2_900);
  expect(loads).toEqual([]);
  await pass(200);
  expect(loads).toEqual(["unreachable"]);
  end();
  await pass(60_000);
  expect(loads).toEqual(["unreachable", "start"]);
});

test("a log that was lost makes the page fetch its state anew", async () => {
  open();
  await pass(10);
  publish();
  await pass(10);
  gateway.reset();
  publish();
  await pass(10);
  expect({ loads, seen }).toEqual({ loads: ["start", "reset"], seen: [1, 1] });
});

test("an event that comes again after a reset is not shown again", async () => {
  open();
  await pass(10);
  const { id } = publish();
  await pass(10);
  gateway.reset();
  gateway.publish("essay.slot.assigned", {} as never, { id });
  publish();
  await pass(10);
  expect(seen).toEqual([1, 2]);
});

test("a token that ran out is replaced, and nothing is lost", async () => {
  const reasons: string[] = [];
  open({ token: (why) => (reasons.push(why), gateway.token()) });
  await pass(10);
  gateway.expire();
  publish();
  await pass(10);
  expect({ seen, reasons, state: connection.status.state }).toEqual({ seen: [1], reasons: ["connect", "rejected"], state: "live" });
});

test("a page that keeps giving the token that was refused is blocked, until it asks to try again", async () => {
  let token = gateway.token();
  open({ token: () => token });
  await pass(10);
  gateway.expire();
  await pass(30_000);
  expect(connection.status).toMatchObject({ state: "blocked", because: { code: "token_expired", retryable: false } });
  token = gateway.token();
  connection.retryNow();
  await pass(10);
  expect(connection.status.state).toBe("live");
});

test.each([
  ["throws", () => { throw new Error("no"); }],
  ["rejects", () => Promise.reject(new Error("no"))],
  ["gives nothing", () => ""],
])("a token callback that %s is asked again", async (_, token) => {
  open({ token });
  await pass(100);
  expect(connection.status).toMatchObject({ state: "waiting", because: { code: "token_unavailable", retryable: true } });
});

test("a token callback that hangs is given up", async () => {
  const signals: AbortSignal[] = [];
  open({ token: (_, signal) => (signals.push(signal), new Promise(() => {})) });
  const states: string[] = [];
  connection.subscribe(() => states.push(connection.status.state));
  await pass(10_100);
  expect(signals[0]?.aborted).toBe(true);
  expect(states).toContain("waiting"); // which may have ended: the first wait is anything up to a second
});

test("the server says when to come back, and is obeyed", async () => {
  const end = gateway.refuse(429, 10_000);
  open();
  await pass(100);
  expect(connection.status).toMatchObject({ state: "waiting", because: { code: "refused_429" } });
  end();
  await pass(9_000);
  expect(connection.status.state).toBe("waiting");
  await pass(3_000);
  expect(connection.status.state).toBe("live");
});

test("who may not connect is told so", async () => {
  gateway.refuse(403);
  open();
  await pass(100);
  expect(connection.status).toMatchObject({ state: "blocked", because: { code: "refused_403", retryable: false } });
});

test("where sockets don't get through it polls, and goes over to a socket without gap or repeat", async () => {
  const end = gateway.refuse(200);
  open();
  for (let second = 0; second < 20; second++) {
    publish();
    await pass(1_000);
  }
  expect(connection.status.state).toBe("polling");
  end();
  for (let second = 0; second < 40; second++) {
    publish();
    await pass(1_000);
  }
  expect(connection.status.state).toBe("live");
  expect(seen).toEqual(Array.from({ length: seen.length }, (_, index) => (seen[0] ?? 0) + index));
  expect(seen.at(-1)).toBe(60);
  expect(states.filter((state) => state === "polling")).toHaveLength(1);
});

test("sockets that die early are given up for polls", async () => {
  open();
  for (let second = 0; second < 10; second++) {
    await pass(1_000);
    if (connection.status.state === "live") gateway.drop();
  }
  expect(connection.status.state).toBe("polling");
});

test("the backoff grows, and stays below 30 s", async () => {
  gateway.refuse(502);
  const waits: number[] = [];
  open({
    clock: {
      now: () => performance.now(),
      setTimeout: (callback, ms) => setTimeout(callback, ms),
      clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
      random: () => 0.999,
    },
  });
  connection.subscribe(() => connection.status.state === "waiting" && waits.push(Math.round(connection.status.retryInMs)));
  await pass(300_000);
  expect(waits.slice(0, 9)).toEqual([250, 500, 999, 1998, 3996, 7992, 15984, 29970, 29970]);
});

test("stop ends whatever is under way, also while it connects; start goes on where it ended", async () => {
  open();
  connection.stop();
  await pass(10);
  expect({ sockets: gateway.sockets, state: connection.status.state }).toEqual({ sockets: 0, state: "stopped" });
  connection.start();
  await pass(10);
  publish();
  await pass(10);
  connection.stop();
  publish();
  await pass(60_000);
  expect({ seen, sockets: gateway.sockets }).toEqual({ seen: [1], sockets: 0 });
  connection.start();
  await pass(10);
  expect({ seen, loads }).toEqual({ seen: [1, 2], loads: ["start"] });
});

test("after a logout the next start begins at the end of the log", async () => {
  open();
  await pass(10);
  connection.logout();
  publish();
  connection.start();
  await pass(10);
  expect({ seen, loads }).toEqual({ seen: [], loads: ["start", "start"] });
});

test("a cursor from before is gone on from, without a load", async () => {
  const { cursor } = publish();
  publish();
  open({ cursor });
  await pass(10);
  expect({ seen, loads }).toEqual({ seen: [2], loads: [] });
});

test("a listener that throws keeps nothing from the others", async () => {
  open();
  const all: number[] = [];
  connection.on("essay.slot.assigned", () => { throw new Error("mine"); });
  const leave = connection.onAny(({ seq }) => all.push(seq));
  await pass(10);
  const reported = await reportedWhile(async () => {
    publish();
    await pass(10);
    leave();
    publish();
    await pass(10);
  });
  expect({ seen, all, reported }).toEqual({ seen: [1, 2], all: [1], reported: [new Error("mine"), new Error("mine")] });
});

/** Whatever the server may say besides: to the socket that was opened last. */
let say: (text: string) => void;
const saying = (): Partial<ConnectOptions> => {
  const { socket, get } = gateway.transports;
  return { transports: { get, socket: (url, protocols, listener) => ((say = listener.message), socket(url, protocols, listener)) } };
};

test("while a refused socket is tried again nothing is late: it polls, and goes over to the socket", async () => {
  const clock = { now: () => performance.now(), setTimeout, clearTimeout, random: () => 0.99 } as Clock;
  open({ clock });
  await pass(31_000); // it was well
  const end = gateway.refuse(200);
  gateway.drop();
  await pass(300);
  publish();
  await pass(10);
  expect([seen, connection.status.state]).toEqual([[1], "polling"]);
  end();
  await pass(3_000);
  expect([seen, connection.status.state]).toEqual([[1], "live"]);
});

test("a token with a line end, as a file has it, is good", async () => {
  open({ token: () => `${gateway.token()}\n` });
  await pass(10);
  expect(connection.status.state).toBe("live");
});

test("a server that sends everybody away at once is not stormed", async () => {
  open(saying());
  for (let ms = 0; ms < 60_000; ms += 10) {
    await pass(10);
    if (gateway.sockets) say('{"event":"doorstep.reconnect","data":{"after_ms":0}}');
  }
  expect(gateway.requests.sockets).toBeLessThan(15);
});

test("a cache that answers every poll with the same page is not stormed", async () => {
  gateway.refuse(200);
  const body = { notifications: [{ event: "e", id: "e1", seq: 1, cursor: "1-0", data: {} }], cursor: "1-0", reset: false };
  let polls = 0;
  open({ transports: { ...gateway.transports, get: async () => (polls++, { status: 200, body }) } });
  await pass(20_000);
  expect(polls).toBeLessThan(120);
});

test("whatever comes over the wire, what comes after it is taken", async () => {
  open(saying());
  await pass(10);
  for (const text of ["", "null", "[null]", "{", '{"event":null,"seq":1}', '{"seq":1.5,"cursor":"1-x"}', '{"event":"doorstep.welcome"}']) say(text);
  await pass(1_000);
  publish();
  await pass(10);
  expect(seen).toEqual([1]);
});

test("a listener may stop the connection", async () => {
  open();
  connection.on("essay.slot.assigned", () => connection.stop());
  await pass(10);
  publish();
  await pass(10);
  expect(connection.status.state).toBe("stopped");
});
