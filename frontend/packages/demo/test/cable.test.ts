import { type Connection, connect } from "@doorstep/client";
import { type Gateway, createGateway } from "@doorstep/client/testing";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Cable, createCable } from "../src/cable.ts";

let gateway: Gateway;
let cable: Cable;
let connection: Connection;
let seen: number[];

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const publish = (): unknown => gateway.publish("essay.slot.assigned", {} as never);

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  gateway = createGateway();
  cable = createCable();
  seen = [];
  const { transports, token } = gateway;
  connection = connect({ url: "https://test", transports, token, tabs: cable });
  connection.onAny(({ seq }) => seen.push(seq));
  connection.start();
  await pass(10);
});

afterEach(() => {
  connection.stop();
  vi.useRealTimers();
});

test("a cut cable breaks the connection at once; what came meanwhile comes when it is whole", async () => {
  cable.set("cut");
  expect(connection.status.state).toBe("waiting");
  publish();
  await pass(10_000);
  expect(["waiting", "connecting"]).toContain(connection.status.state);
  cable.set("whole");
  connection.retryNow();
  await pass(100);
  expect([connection.status.state, seen]).toEqual(["live", [1]]);
});

test("a silent cable tells nobody: the connection finds out, and recovers by itself", async () => {
  cable.set("silent");
  publish();
  await pass(9_000);
  expect([connection.status.state, seen]).toEqual(["live", []]);
  await pass(6_000);
  expect(connection.status.state).not.toBe("live");
  cable.set("whole");
  await pass(60_000);
  expect([connection.status.state, seen]).toEqual(["live", [1]]);
});

test("requests fail while it is cut, and wait for their patience while it is silent", async () => {
  const ask = (signal: AbortSignal): Promise<string> => cable.pass(() => Promise.resolve("answer"), signal);
  const patience = new AbortController();
  expect(await ask(patience.signal)).toBe("answer");
  cable.set("cut");
  await expect(ask(patience.signal)).rejects.toThrow("cut");
  cable.set("silent");
  const asked = ask(patience.signal);
  patience.abort(new Error("too long"));
  await expect(asked).rejects.toThrow("too long");
});
