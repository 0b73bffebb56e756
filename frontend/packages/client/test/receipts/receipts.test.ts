import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { connect, type ConnectOptions, type Connection } from "../../src/index.ts";
import { receipts } from "../../src/receipts/index.ts";
import { createGateway, type Gateway } from "../../src/testing/index.ts";

let gateway: Gateway;
let connection: Connection;
let frames: (() => void)[];

/** The browser draws: whatever was shown by now is on the screen. */
const paint = () => frames.splice(0).forEach((frame) => frame());
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const publish = () => gateway.publish("essay.slot.assigned", {} as never).cursor;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  frames = [];
  vi.stubGlobal("requestAnimationFrame", (frame: () => void) => frames.push(frame));
  vi.stubGlobal("MessageChannel", FrameEnd);
  gateway = createGateway();
});

afterEach(() => {
  paint();
  connection.stop();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** The task after a frame, without waiting for one. */
class FrameEnd {
  readonly port1: { onmessage?: () => void; close(): void } = { close: () => {} };
  readonly port2 = { postMessage: () => this.port1.onmessage?.() };
}

async function open(options: Partial<ConnectOptions> = {}): Promise<void> {
  const { transports, token } = gateway;
  connection = connect({ url: "https://test", transports, token, receipts: receipts(), ...options });
  connection.start();
  await pass(10);
}

test("what was painted is acknowledged at once, and not before", async () => {
  await open();
  const cursor = publish();
  await pass(10);
  expect(gateway.acknowledged).toEqual([]);
  paint();
  await pass(10);
  expect(gateway.acknowledged).toEqual([cursor]);
});

test("what a hidden page draws, as Firefox does, nobody has seen", async () => {
  await open();
  const cursor = publish();
  await pass(10);
  vi.stubGlobal("document", { hidden: true });
  paint();
  await pass(10);
  expect(gateway.acknowledged).toEqual([]);
  vi.stubGlobal("document", { hidden: false });
  paint();
  await pass(10);
  expect(gateway.acknowledged).toEqual([cursor]);
});

test("a burst is acknowledged by one frame a second, the last of which names its end", async () => {
  await open();
  const cursors: string[] = [];
  for (let ms = 0; ms < 1500; ms += 100) {
    cursors.push(publish());
    await pass(50);
    paint();
    await pass(50);
  }
  await pass(3000);
  expect(gateway.acknowledged.length).toBe(3);
  expect(gateway.acknowledged.at(-1)).toBe(cursors.at(-1));
});

test("a page that is hidden for a day asks for one frame, and acknowledges what it showed last", async () => {
  await open();
  let cursor = "";
  for (let count = 0; count < 1_000; count++) cursor = publish();
  await pass(86_400_000);
  expect(frames).toHaveLength(1);
  paint();
  await pass(10);
  expect(gateway.acknowledged).toEqual([cursor]);
});

test("what waits for a load is not shown yet", async () => {
  let finish = () => {};
  await open({ load: () => new Promise<void>((resolve) => (finish = resolve)) });
  const cursor = publish();
  await pass(10);
  paint();
  await pass(10);
  expect(gateway.acknowledged).toEqual([]);
  finish();
  await pass(10);
  paint();
  await pass(10);
  expect(gateway.acknowledged).toEqual([cursor]);
});

test("what was shown while there is no socket is acknowledged by the next one", async () => {
  await open();
  const cursor = publish();
  await pass(10);
  gateway.drop();
  await pass(1);
  paint();
  await pass(1);
  expect(gateway.acknowledged).toEqual([]);
  await pass(5000);
  expect(gateway.acknowledged).toEqual([cursor]);
});
