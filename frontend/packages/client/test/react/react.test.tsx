// @vitest-environment jsdom
import { type ReactElement, StrictMode, act } from "react";
import { createRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { beforeEach, expect, test } from "vitest";
import { DoorstepProvider, useBatch, useBatches, useDoorstep, useNotifications, useStatus } from "../../src/react/index.ts";
import { createBatchStore } from "../../src/state/index.ts";
import { HandConnection, assigned } from "../support/connection.ts";

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

let connection: HandConnection;
let store: ReturnType<typeof createBatchStore>;
let told: string[];

beforeEach(() => {
  connection = new HandConnection();
  store = createBatchStore();
  told = [];
});

function Page({ mark = "" }: { readonly mark?: string }): ReactElement {
  useNotifications("essay.slot.assigned", ({ seq, data }) => told.push(`${mark}${seq}:${data.essay_id}`));
  useNotifications("*", ({ event }) => told.push(event));
  const batch = useBatch("b1");
  const { state } = useStatus();
  const count = useBatches().size;
  return <p>{`${state} ${count} ${[...batch.fileUploads.keys()].join()}`}</p>;
}

const app = (mark?: string): ReactElement => (
  <StrictMode>
    <DoorstepProvider connection={connection} store={store}>
      <Page {...(mark && { mark })} />
    </DoorstepProvider>
  </StrictMode>
);

test("in StrictMode a page connects, hears of everything once, and leaves nothing behind", () => {
  const place = document.createElement("div");
  const root = createRoot(place);
  act(() => root.render(app()));
  expect(connection.calls).toEqual(["start", "stop", "start"]);
  expect(place.textContent).toBe("idle 0 ");
  act(() => connection.set({ state: "live" }));
  act(() => connection.tell(assigned(1, { file_upload_id: "f1", essay_id: "e1" })));
  expect(place.textContent).toBe("live 1 f1");
  expect(told).toEqual(["1:e1", "essay.slot.assigned"]);
  act(() => root.render(app("new ")));
  act(() => connection.tell(assigned(2, { file_upload_id: "f2", essay_id: "e2" })));
  expect(told.slice(2)).toEqual(["new 2:e2", "essay.slot.assigned"]);
  act(() => root.unmount());
  expect(connection.calls.at(-1)).toBe("stop");
  expect(connection.listeners).toBe(0);
});

test("a page draws again only for its own batch", () => {
  let draws = 0;
  function Counted(): ReactElement {
    draws++;
    return <p>{useBatch("b1").fileUploads.size}</p>;
  }
  const root = createRoot(document.createElement("div"));
  act(() => root.render(<DoorstepProvider connection={connection} store={store} children={<Counted />} />));
  act(() => connection.tell(assigned(1, { file_upload_id: "f", essay_id: "e", batch_id: "b2" })));
  expect(draws).toBe(1);
  act(() => connection.tell(assigned(2, { file_upload_id: "f", essay_id: "e" })));
  expect(draws).toBe(2);
  act(() => root.unmount());
});

test("on a server it renders, idle, and connects to nothing", () => {
  connection.status = { state: "live" };
  expect(renderToString(app())).toBe("<p>idle 0 </p>");
  expect(connection.calls).toEqual([]);
  expect(connection.listeners).toBe(0);
});

test("outside of a provider it says what is missing", () => {
  const Lost = (): ReactElement => <>{String(useDoorstep())}</>;
  expect(() => renderToString(<Lost />)).toThrow("DoorstepProvider");
});
