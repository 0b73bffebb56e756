import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { connect, type Connection } from "../src/index.ts";
import { tabs } from "../src/tabs/index.ts";
import { createGateway, type Gateway } from "../src/testing/index.ts";
import type { Socket } from "../src/types.ts";
import { newBrowser } from "./support/browser.ts";

interface Tab {
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

function open(own: object = browser): Tab {
  const { transports, token } = gateway;
  const tab: Tab = { seen: [], loads: [], connection: undefined as never };
  const load = (why: string) => void tab.loads.push(why);
  const connection = connect({ url: "https://events.example.org", transports, token, load, tabs: tabs(own) });
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

test("a logout in one tab ends them all", async () => {
  const first = open();
  open();
  await pass(100);
  first.connection.logout();
  await pass(100);
  expect([states(), gateway.sockets]).toEqual([["stopped", "stopped"], 0]);
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
    ...{ url: "https://events.example.org", token: gateway.token, transports: gateway.transports, tabs: tabs(browser) },
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
