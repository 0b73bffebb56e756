// @vitest-environment jsdom
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { connect, type Connection } from "../src/index.ts";
import { createGateway, type Gateway } from "../src/testing/index.ts";
import type { Clock } from "../src/types.ts";

let gateway: Gateway;
let connection: Connection;
let isHidden = false;
let isOnLine = true;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  vi.spyOn(document, "hidden", "get").mockImplementation(() => isHidden);
  vi.spyOn(navigator, "onLine", "get").mockImplementation(() => isOnLine);
  isHidden = false;
  isOnLine = true;
  gateway = createGateway();
  const { transports, token } = gateway;
  const clock = { now: () => performance.now(), setTimeout, clearTimeout, random: () => 0.5 } as Clock; // a retry after 125 ms
  connection = connect({ url: "https://events.example.org", transports, token, clock });
  connection.start();
});

afterEach(() => {
  connection.stop();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const look = () => document.dispatchEvent(new Event("visibilitychange"));

test("a page that goes into the back-forward cache closes its socket, and opens one when it is back", async () => {
  await pass(10);
  dispatchEvent(new Event("pagehide"));
  expect([gateway.sockets, connection.status.state]).toEqual([0, "idle"]);
  dispatchEvent(new Event("pageshow"));
  await pass(10);
  expect([gateway.sockets, connection.status.state]).toEqual([1, "live"]);
});

test("a dead line is noticed 4 s after the page is looked at, however long it was hidden", async () => {
  await pass(10);
  isHidden = true;
  look();
  gateway.hang();
  await pass(3_600_000);
  expect(connection.status.state).toBe("live");
  isHidden = false;
  look();
  await pass(4_100);
  expect(connection.status.state).not.toBe("live");
});

test("without a network it says so, and connects at once when that is back", async () => {
  await pass(10);
  isOnLine = false;
  dispatchEvent(new Event("offline"));
  const end = gateway.refuse(502);
  gateway.drop();
  await pass(10);
  expect(connection.status).toEqual({ state: "offline" });
  end();
  isOnLine = true;
  dispatchEvent(new Event("online"));
  await pass(10);
  expect(connection.status.state).toBe("live");
});

test("after stop nothing on the page wakes it", async () => {
  await pass(10);
  connection.stop();
  for (const type of ["pagehide", "pageshow", "online", "offline"]) dispatchEvent(new Event(type));
  look();
  await pass(60_000);
  expect([gateway.sockets, connection.status.state]).toEqual([0, "stopped"]);
});
