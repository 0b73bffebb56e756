// @vitest-environment jsdom
import { expect, test, vi } from "vitest";
import { record } from "../../src/devtools/index.ts";
import { HandConnection, assigned } from "../support/connection.ts";

Object.assign(globalThis, { requestAnimationFrame: (callback: () => void) => setTimeout(callback, 16) });

const tell = (connection: HandConnection, count: number): void => {
  for (let seq = 1; seq <= count; seq++) connection.tell(assigned(seq, { file_upload_id: `f${seq}`, essay_id: `e${seq}` }));
};

test("it keeps the last things that happened, and their times to paint", async () => {
  const connection = new HandConnection();
  const recorder = record(connection, 3);
  expect(recorder.paintMs(0.5)).toBeUndefined();
  connection.set({ state: "live" });
  expect(recorder.entries()).toMatchObject([{ kind: "status", status: { state: "live" } }]);
  tell(connection, 4);
  await vi.waitFor(() => expect(recorder.paintMs(0)).toBeGreaterThan(0));
  const entries = recorder.entries();
  expect(entries).toHaveLength(3);
  expect(entries.every((entry) => "paintMs" in entry)).toBe(true);
  expect(entries[2]).toMatchObject({ kind: "notification", notification: { seq: 4 } });
  expect(recorder.paintMs(1)).toBeGreaterThanOrEqual(recorder.paintMs(0.5) ?? Infinity);
  expect(JSON.parse(recorder.dump())).toHaveLength(3);
  recorder.stop();
  expect(connection.listeners).toBe(0);
});
