// @vitest-environment jsdom
import { DoorstepProvider } from "@doorstep/client/react";
import { type BatchStore, createBatchStore } from "@doorstep/client/state";
import { StrictMode, act } from "react";
import { type Root, createRoot } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HandConnection } from "../../client/test/support/connection.ts";
import { BatchOverview, ConnectionStatus, UploadList } from "../src/index.ts";
import { HandUploader } from "./support/uploader.ts";

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

let connection: HandConnection;
let uploader: HandUploader;
let store: BatchStore;
let root: Root;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  connection = new HandConnection();
  uploader = new HandUploader();
  store = createBatchStore();
  const place = document.body.appendChild(document.createElement("div"));
  root = createRoot(place);
  act(() =>
    root.render(
      <StrictMode>
        <DoorstepProvider connection={connection} store={store}>
          <ConnectionStatus />
          <UploadList uploader={uploader} />
          <BatchOverview batchId="b1" uploader={uploader} />
        </DoorstepProvider>
      </StrictMode>,
    ),
  );
});
afterEach(() => {
  act(() => root.unmount());
  document.body.replaceChildren();
  vi.useRealTimers();
});

const text = (selector: string): string => document.querySelector(selector)?.textContent ?? "";
const pass = (ms: number): void => act(() => void vi.advanceTimersByTime(ms));
const assign = (id: string): void =>
  act(() =>
    store.notified({
      event: "essay.slot.assigned",
      timestamp: "2026-11-23T08:15:30Z",
      data: { batch_id: "b1", essay_id: `e-${id}`, file_upload_id: id, text_storage_id: "t", original_file_name: `${id}.txt` },
    }),
  );

test("a burst is said once, when it is over, however many files it was", () => {
  for (let file = 1; file <= 30; file++) {
    assign(`f${file}`);
    pass(100);
    if (file < 30) expect(text(".ds-said")).toBe("");
  }
  pass(800);
  expect(text(".ds-said")).toBe("30 files have become essays.");
  assign("f31");
  pass(800);
  expect(text(".ds-said")).toBe("1 file has become an essay.");
  expect(document.querySelectorAll("tbody tr")).toHaveLength(31);
});

test("a burst that does not end is told every five seconds", () => {
  for (let file = 1; file <= 60; file++) {
    assign(`f${file}`);
    pass(100);
  }
  expect(text(".ds-said")).toMatch(/^\d+ files have become essays\.$/);
});

const because = { code: "unreachable", detail: "The server did not answer.", retryable: true };
const set = (status: HandConnection["status"]): void => act(() => connection.set(status));

test("a reconnect that works is nobody's business; one that doesn't is told, with a way out", () => {
  set({ state: "live" });
  for (let time = 0; time < 1400; time += 200) {
    set(time % 400 ? { state: "connecting" } : { state: "waiting", retryInMs: 200, because });
    pass(200);
    expect(text(".ds-status p")).toContain("Live");
  }
  set({ state: "live" });
  pass(5000);
  expect(text(".ds-status p")).toContain("Live");
  set({ state: "waiting", retryInMs: 4000, because });
  pass(1600);
  expect(text(".ds-status p")).toBe("No connection. The server did not answer. Trying again in 4 seconds.");
  const button = document.querySelector<HTMLButtonElement>(".ds-status button");
  button?.focus();
  act(() => button?.click());
  expect(connection.calls).toContain("retryNow");
  set({ state: "live" });
  expect(document.activeElement).toBe(document.querySelector(".ds-status p"));
});

test("what blocks a page is told at once", () => {
  set({ state: "live" });
  set({ state: "blocked", because });
  expect(text(".ds-status p")).toBe("Not connected. The server did not answer.");
});

test("an upload shows its progress, then its tracking id, and keeps the focus when its button goes", () => {
  act(() => void uploader.add("b1", [new File(["x"], "Tom.txt")]));
  act(() => uploader.change("key-Tom.txt", { state: "sending", progress: 0.4 }));
  expect(document.querySelector<HTMLProgressElement>(".ds-uploads progress")?.value).toBe(0.4);
  const button = document.querySelector<HTMLButtonElement>(".ds-uploads button");
  expect(button?.getAttribute("aria-label")).toBe("Stop: Tom.txt");
  act(() => button?.focus());
  act(() => button?.click());
  expect(document.activeElement).toBe(button);
  expect(button?.getAttribute("aria-label")).toBe("Send again: Tom.txt");
  act(() => button?.click());
  act(() => uploader.change("key-Tom.txt", { state: "sent", progress: 1, fileUploadId: "id-17" }));
  expect(text(".ds-uploads code")).toBe("id-17");
  expect(document.activeElement?.tagName).toBe("LI");
});
