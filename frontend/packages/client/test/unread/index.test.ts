import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { connect, type Connection, type ConnectOptions } from "../../src/index.ts";
import { tabs } from "../../src/tabs/index.ts";
import { createGateway, type Gateway } from "../../src/testing/index.ts";
import { createUnread, type Unread } from "../../src/unread/index.ts";
import { newBrowser } from "../support/browser.ts";
import { reportedWhile } from "../support/reported.ts";

interface Device {
  readonly unread: Unread;
  readonly connection: Connection;
}

let gateway: Gateway;
let devices: Device[];
let browser: ReturnType<typeof newBrowser>;

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const publish = () => gateway.publish("essay.slot.assigned", {} as never);
const counts = () => devices.map(({ unread }) => unread.count);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  gateway = createGateway();
  browser = newBrowser();
  devices = [];
  vi.stubGlobal("BroadcastChannel", browser.BroadcastChannel);
});

afterEach(() => {
  devices.forEach(({ connection }) => connection.stop());
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

async function open(options: Partial<ConnectOptions> = {}): Promise<Device> {
  const unread = createUnread();
  const connection = connect({ url: "https://test", transports: gateway.transports, token: gateway.token, unread, ...options });
  const device = { unread, connection };
  devices.push(device);
  connection.start();
  await pass(50);
  return device;
}

/** The devices of a user, each a browser of its own: nothing but the server is between them. */
async function openApart(): Promise<Device> {
  vi.stubGlobal("BroadcastChannel", undefined);
  return open();
}

test("what is read on one device is read on all of them, and on the next one", async () => {
  const { unread } = await openApart();
  await openApart();
  const [, second] = [publish(), publish(), publish()];
  await pass(10);
  expect(counts()).toEqual([3, 3]);
  unread.markRead(second);
  expect(unread.count).toBe(1); // at once
  await pass(10);
  expect(counts()).toEqual([1, 1]);
  expect([1, 2, 3].map((seq) => devices[1]?.unread.isRead({ seq, cursor: "" }))).toEqual([true, true, false]);
  await openApart();
  publish();
  await pass(10);
  expect(counts()).toEqual([2, 2, 2]);
});

test("where channels are refused, as without cookies, a page counts all the same", async () => {
  vi.stubGlobal("BroadcastChannel", () => {
    throw new DOMException("no", "SecurityError");
  });
  await open();
  publish();
  await pass(10);
  expect([counts(), gateway.requests]).toEqual([[1], { sockets: 1, polls: 0 }]);
});

test("a listener that throws keeps nothing from the others", async () => {
  const { unread } = await open();
  const seen: number[] = [];
  unread.subscribe(() => {
    throw new Error("mine");
  });
  unread.subscribe(() => seen.push(unread.count));
  const reported = await reportedWhile(async () => {
    publish();
    await pass(10);
  });
  expect({ seen, reported }).toEqual({ seen: [1], reported: [new Error("mine")] });
});

test("a mark never moves backwards, and without a place it is of all that has come", async () => {
  const { unread } = await open();
  const first = publish();
  publish();
  await pass(10);
  unread.markRead();
  await pass(2_000);
  unread.markRead(first);
  await pass(2_000);
  expect([unread.count, gateway.read]).toEqual([0, 2]);
});

test("listeners hear of changes, and of nothing else", async () => {
  const { unread } = await open();
  const heard: number[] = [];
  const end = unread.subscribe(() => heard.push(unread.count));
  const first = publish();
  await pass(10);
  unread.markRead(first);
  unread.markRead(first);
  await pass(10);
  end();
  publish();
  await pass(10);
  expect(heard).toEqual([1, 0]);
});

test("a burst of marks is told once a second, the last of which is the end", async () => {
  const sent: string[] = [];
  const { socket, get } = gateway.transports;
  const transports = { get, socket: ((...wire) => {
    const real = socket(...wire);
    return { close: () => real.close(), send: (text: string) => (sent.push(text), real.send(text)) };
  }) as typeof socket };
  const { unread } = await open({ transports });
  for (let ms = 0; ms < 1_500; ms += 50) {
    unread.markRead(publish());
    await pass(50);
  }
  await pass(2_000);
  expect(sent.length).toBe(3);
  expect([gateway.read, unread.count]).toEqual([30, 0]);
});

test("what was marked without a socket is told to the next one, the furthest of it", async () => {
  const { unread } = await open();
  const first = publish();
  publish();
  await pass(10);
  gateway.drop();
  await pass(1);
  unread.markRead();
  unread.markRead(first);
  await pass(5_000);
  expect([gateway.read, unread.count]).toEqual([2, 0]);
});

test("by polling it is the same", async () => {
  gateway.refuse(200);
  const { connection, unread } = await open();
  await pass(10_000);
  expect(connection.status.state).toBe("polling");
  publish();
  await pass(500);
  expect(unread.count).toBe(1);
  unread.markRead();
  await pass(30_000);
  expect([gateway.read, unread.count]).toEqual([1, 0]);
});

test("a mark of a log that is lost is none of the next one", async () => {
  const { unread } = await open();
  publish();
  await pass(10);
  unread.markRead();
  await pass(10);
  gateway.reset();
  publish();
  await pass(10);
  expect(unread.count).toBe(1);
});

test("tabs that share a connection agree, whichever of them marks, leads, or comes later", async () => {
  const shared = () => open({ tabs: tabs(browser.locks, browser.BroadcastChannel) });
  const leader = await shared();
  const follower = await shared();
  expect(gateway.sockets).toBe(1);
  const first = publish();
  publish();
  await pass(10);
  expect(counts()).toEqual([2, 2]);
  follower.unread.markRead(first);
  await pass(20);
  expect([...counts(), gateway.read]).toEqual([1, 1, 1]);
  await shared();
  await pass(20);
  expect(counts()).toEqual([1, 1, 1]);
  leader.connection.stop();
  await pass(5_000);
  follower.unread.markRead();
  await pass(2_000);
  expect(devices.slice(1).map(({ unread }) => unread.count)).toEqual([0, 0]);
  expect(gateway.read).toBe(2);
});

test("who logs out leaves nothing behind", async () => {
  const { connection, unread } = await open();
  publish();
  await pass(10);
  expect(unread.count).toBe(1);
  connection.logout();
  expect(unread.count).toBe(0);
  unread.markRead({ seq: 9, cursor: "9-0" });
  expect(unread.count).toBe(0);
});
