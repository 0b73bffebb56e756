import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { connect, type Connection } from "../src/index.ts";
import { tabs } from "../src/tabs/index.ts";
import { createGateway, type Gateway } from "../src/testing/index.ts";
import type { Clock, Socket } from "../src/types.ts";
import { newBrowser } from "./support/browser.ts";

interface Tab {
  /** Whether the user looks at it. */
  isSeen: boolean;
  readonly connection: Connection;
  readonly seen: number[];
  readonly loads: string[];
}

let gateway: Gateway;
let all: Tab[];
let browser: ReturnType<typeof newBrowser>;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  gateway = createGateway();
  browser = newBrowser();
  all = [];
});

afterEach(() => {
  all.forEach(({ connection }) => connection.stop());
  vi.useRealTimers();
});

/** The clock of a tab that is hidden for long: what it waits for comes once a minute. */
const clockOf = (tab: Tab): Clock => ({
  now: () => performance.now(),
  random: () => 0.5,
  setTimeout: (callback, ms) => setTimeout(callback, tab.isSeen ? ms : Math.ceil((performance.now() + ms) / 60_000) * 60_000 - performance.now()),
  clearTimeout: (timer) => clearTimeout(timer as number),
});

function open({ locks, BroadcastChannel }: Partial<typeof browser> = browser, isSeen = true): Tab {
  const { transports, token } = gateway;
  const tab: Tab = { isSeen, seen: [], loads: [], connection: undefined as never };
  const load = (why: string) => void tab.loads.push(why);
  const connection = connect({ url: "https://events.example.org", transports, token, load, clock: clockOf(tab), tabs: tabs(locks ?? (null as never), BroadcastChannel ?? (null as never), () => tab.isSeen) });
  Object.assign(tab, { connection });
  connection.onAny(({ seq }) => tab.seen.push(seq));
  connection.start();
  all.push(tab);
  return tab;
}

const publish = () => gateway.publish("essay.slot.assigned", {} as never);
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const states = () => all.map(({ connection }) => connection.status.state);

test("twelve tabs have one socket, and each gets everything once", async () => {
  for (let tab = 0; tab < 12; tab++) open();
  await pass(100);
  publish();
  await pass(100);
  publish();
  await pass(100);
  expect({ sockets: gateway.sockets, requests: gateway.requests }).toEqual({ sockets: 1, requests: { sockets: 1, polls: 0 } });
  for (const { seen, loads } of all) expect({ seen, loads }).toEqual({ seen: [1, 2], loads: ["start"] });
});

test("a tab that comes later begins where the others are", async () => {
  open();
  await pass(100);
  publish();
  await pass(100);
  const late = open();
  await pass(100);
  publish();
  await pass(100);
  expect({ seen: late.seen, loads: late.loads, sockets: gateway.sockets }).toEqual({ seen: [2], loads: ["start"], sockets: 1 });
});

test("when the leading tab is closed another one leads, without gap or repeat", async () => {
  const [first, second, third] = [open(), open(), open()];
  await pass(100);
  publish();
  await pass(100);
  first.connection.stop();
  publish();
  await pass(200);
  publish();
  await pass(100);
  expect([second.seen, third.seen, gateway.sockets]).toEqual([[1, 2, 3], [1, 2, 3], 1]);
  expect([second.loads, third.loads]).toEqual([["start"], ["start"]]);
});

test("a leader that loses its connection for a moment comes back, and the others need not know", async () => {
  open();
  const other = open();
  await pass(100);
  const { status } = other.connection;
  gateway.drop();
  publish();
  await pass(3_000);
  publish();
  await pass(100);
  expect([states(), all.map(({ seen }) => seen), gateway.sockets]).toEqual([["live", "live"], [[1, 2], [1, 2]], 1]);
  expect(other.connection.status).toBe(status);
});

test("while the leader has no connection the others say so", async () => {
  open();
  const other = open();
  await pass(100);
  gateway.hang();
  await pass(40_000);
  expect(other.connection.status.state).not.toBe("live");
});

test("where sockets don't get through the leader polls for all", async () => {
  gateway.refuse(200);
  for (let tab = 0; tab < 3; tab++) open();
  for (let second = 0; second < 30; second++) {
    publish();
    await pass(1_000);
  }
  for (const { seen } of all) {
    expect(seen.at(-1)).toBe(30);
    expect(seen).toEqual(Array.from({ length: seen.length }, (_, index) => (seen[0] ?? 0) + index));
  }
});

test("a log that was lost makes every tab load again", async () => {
  open();
  open();
  await pass(100);
  publish();
  await pass(40_000);
  gateway.reset();
  await pass(20_000);
  publish();
  await pass(10_000);
  for (const { seen, loads } of all) expect({ seen, loads }).toEqual({ seen: [1, 1], loads: ["start", "reset"] });
});

/** Opens a tab that is not looked at. */
function openHidden(): Tab {
  vi.stubGlobal("document", { hidden: true });
  vi.stubGlobal("navigator", { onLine: true });
  vi.stubGlobal("addEventListener", () => {});
  const tab = open(browser, false);
  vi.unstubAllGlobals();
  return tab;
}

test("a hidden tab that loses its connection gives the lead to one that is seen, which is live again at once", async () => {
  const leader = openHidden();
  await pass(100);
  const seen = open();
  await pass(40_000);
  publish();
  await pass(100);
  gateway.drop();
  publish();
  await pass(500);
  publish();
  await pass(100);
  expect([seen.seen, seen.connection.status.state]).toEqual([[1, 2, 3], "live"]);
  await pass(120_000); // the hidden one comes when its clock lets it
  publish();
  await pass(100);
  expect(all.map((tab) => tab.seen)).toEqual([[1, 2, 3, 4], [1, 2, 3, 4]]);
  expect([states(), gateway.sockets]).toEqual([["live", "live"], 1]);
  seen.connection.stop();
  await pass(120_000);
  expect([leader.connection.status.state, gateway.sockets]).toEqual(["live", 1]); // it stands for election again
});

test("a hidden tab that its browser freezes gives the lead to one that is seen", async () => {
  const told = new Map<string, () => void>();
  openHidden();
  vi.stubGlobal("addEventListener", (event: string, listener: () => void) => told.set(event, listener));
  await pass(100);
  vi.unstubAllGlobals();
  const seen = open();
  await pass(100);
  expect(gateway.requests.sockets).toBe(1);
  told.get("freeze")?.();
  await pass(500);
  publish();
  await pass(100);
  expect([seen.seen, gateway.requests.sockets, gateway.sockets]).toEqual([[1], 2, 1]);
});

test("who hears twice that the lead is free, and takes it from itself, leads", async () => {
  const channel = (browser.BroadcastChannel as unknown as { prototype: { postMessage(data: { say?: string }): void } }).prototype;
  const post = channel.postMessage;
  channel.postMessage = function (data) {
    post.call(this, data);
    if (data.say === "lost") post.call(this, data);
  };
  openHidden();
  await pass(100);
  const seen = open();
  await pass(100);
  gateway.drop();
  await pass(30_000);
  expect([seen.connection.status.state, gateway.sockets, gateway.requests.polls]).toEqual(["live", 1, 0]);
});

test("a tab that is seen while a hidden one still tries to connect takes the lead", async () => {
  const end = gateway.refuse(503);
  openHidden();
  await pass(100);
  end();
  const seen = open();
  await pass(1_000);
  expect([seen.connection.status.state, gateway.sockets]).toEqual(["live", 1]);
});

test("a connection that a hidden tab loses while nobody looks is its own business", async () => {
  openHidden();
  openHidden();
  await pass(40_000);
  gateway.drop();
  await pass(120_000);
  expect([states(), gateway.sockets]).toEqual([["live", "live"], 1]);
});

test("a line that is dead is noticed by the tab that is looked at, which takes the lead from the hidden one", async () => {
  openHidden();
  await pass(100);
  const seen = open();
  await pass(20_000); // a ping goes, and is answered
  expect([states(), gateway.requests]).toEqual([["live", "live"], { sockets: 1, polls: 0 }]);
  const end = gateway.hang();
  await pass(14_200);
  expect(seen.connection.status.state).not.toBe("live");
  end();
  publish();
  await pass(60_000);
  expect([states(), all.map(({ seen }) => seen), gateway.sockets]).toEqual([["live", "live"], [[1], [1]], 1]);
});

test("a tab that comes while another one's ping is under way takes the connection from nobody", async () => {
  gateway.later(1_000);
  openHidden();
  await pass(2_500);
  open();
  await pass(10_000); // it has pinged
  open();
  await pass(10_000);
  expect([states(), gateway.requests]).toEqual([["live", "live", "live"], { sockets: 1, polls: 0 }]);
});

test("while the leader's polls are not answered the others say so", async () => {
  gateway.refuse(200);
  open();
  const other = open();
  await pass(10_000);
  expect(states()).toEqual(["polling", "live"]);
  gateway.hang();
  await pass(70_000);
  expect(other.connection.status.state).not.toBe("live");
});

test("a socket that was given up says late that it is closed, and nobody minds", async () => {
  const { socket } = gateway.transports;
  vi.spyOn(gateway.transports, "socket").mockImplementation((url, protocols, listener) => {
    const real = socket(url, protocols, listener);
    return { ...real, close: () => (real.close(), setTimeout(() => listener.closed(1006), 30_000)) };
  });
  openHidden(); // of the two only the other one pings
  await pass(100);
  const other = open();
  const end = gateway.hang();
  await pass(13_900); // the other one has pinged, and gives up a moment later
  end();
  await pass(20_000);
  const states: string[] = [];
  other.connection.subscribe(() => states.push(other.connection.status.state));
  await pass(60_000);
  expect([other.connection.status.state, states]).toEqual(["live", []]);
});

test("a leader that hangs is noticed by the others, which help themselves", async () => {
  open();
  const other = open();
  await pass(100);
  const silent = browser.BroadcastChannel as unknown as { prototype: { postMessage(data: unknown): void } };
  const post = silent.prototype.postMessage;
  silent.prototype.postMessage = () => {};
  publish();
  await pass(120_000);
  silent.prototype.postMessage = post;
  expect(other.seen).toEqual([1]);
});

test("who stops while its ping is under way keeps the lead from nobody", async () => {
  const [first, other] = [open(), open()];
  await pass(100);
  const end = gateway.hang();
  await pass(11_000);
  other.connection.stop();
  end();
  await pass(60_000);
  publish();
  await pass(100);
  expect([first.connection.status.state, first.seen]).toEqual(["live", [1]]);
});

test("a logout in one tab ends them all", async () => {
  const first = open();
  open();
  await pass(100);
  first.connection.logout();
  await pass(100);
  expect([states(), gateway.sockets]).toEqual([["stopped", "stopped"], 0]);
});

test("who has stopped, as a page of React does when it goes, still logs the others out", async () => {
  const first = open();
  open();
  await pass(100);
  first.connection.stop();
  await pass(100);
  first.connection.logout();
  await pass(100);
  expect([states(), gateway.sockets]).toEqual([["stopped", "stopped"], 0]);
});

const denied = () => {
  throw new DOMException("no", "SecurityError");
};

test.each([
  ["locks", () => ({ ...browser, locks: { request: async () => denied() } as never })],
  ["channels", () => ({ ...browser, BroadcastChannel: denied as never })],
])("where %s are refused, as without cookies, every tab has a socket of its own", async (_, refusing) => {
  open(refusing());
  open(refusing());
  await pass(100);
  publish();
  await pass(100);
  expect([gateway.sockets, all.map(({ seen }) => seen)]).toEqual([2, [[1], [1]]]);
});

test("where locks or channels are missing every tab has a socket of its own", async () => {
  open({});
  open({});
  await pass(100);
  publish();
  await pass(100);
  expect([gateway.sockets, all.map(({ seen }) => seen)]).toEqual([2, [[1], [1]]]);
});

test("what any tab says to the server goes there by the leader", async () => {
  await pass(10);
  open();
  await pass(50);
  const { acknowledged } = gateway;
  const follower = connect({
    ...{ url: "https://events.example.org", token: gateway.token, transports: gateway.transports, tabs: tabs(browser.locks, browser.BroadcastChannel) },
    receipts: { join: (wire) => ({ ...wire, socket: (...given) => (said = wire.socket(...given)) }) },
  });
  let said: Socket | undefined;
  follower.start();
  await pass(50);
  said?.send('{"op":"ack","cursor":"7-0"}');
  await pass(50);
  follower.stop();
  expect(acknowledged).toEqual(["7-0"]);
  expect(gateway.sockets).toBe(1);
});
