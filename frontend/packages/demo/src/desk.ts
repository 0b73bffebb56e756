/** Everything of one teacher that this page knows: her connection, her batches, and what is being sent. */

import { type Connection, type LoadReason, connect } from "@doorstep/client";
import { record } from "@doorstep/client/devtools";
import { receipts } from "@doorstep/client/receipts";
import { type BatchStore, createBatchStore } from "@doorstep/client/state";
import { tabs } from "@doorstep/client/tabs";
import { type Uploader, createUploader } from "@doorstep/client/upload";
import { type Cable, createCable } from "./cable.ts";
import { type Logbook, createLogbook } from "./logbook.ts";
import { type Teacher, createServices, wordsOf } from "./services.ts";

/** So many things of a connection are remembered: a morning's. */
const REMEMBERED = 2_000;
/** The read model may lag behind the notifications: after what pauses it is asked again. */
const CATCH_UP_MS = [100, 500, 2_000];

/** A set of files that belong together. Until there is a `batchId` they wait to be sent. */
export interface Batch {
  readonly key: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly batchId?: string | undefined;
  readonly files: readonly File[];
  /** Why they could not be sent. */
  readonly problem?: string | undefined;
}

/** What is shown of a desk. Replaced by a new object whenever something changes. */
export interface View {
  /** Whether the list of batches has come. */
  readonly list: "fetching" | "fetched" | "failed";
  /** The newest first. */
  readonly batches: readonly Batch[];
  /** What there is to say, in a sentence; empty where there is nothing. */
  readonly notice: string;
}

export interface Desk {
  readonly teacher: Teacher;
  readonly cable: Cable;
  readonly connection: Connection;
  readonly store: BatchStore;
  readonly uploader: Uploader;
  readonly logbook: Logbook;
  view(): View;
  /** Called after each change of the view; returns how to end that. */
  subscribe(listener: () => void): () => void;
  /** Essays to try it with. */
  readonly samples: readonly File[];
  /** Makes a batch of files and sends them. */
  send(files: readonly File[]): Promise<void>;
  /** Sends again what could not be sent. */
  retry(batch: Batch): Promise<void>;
  /** Asks RAS for the list. Never rejects. */
  refresh(signal?: AbortSignal): Promise<void>;
  /** Whether files would be lost if the page were closed. */
  isSending(): boolean;
}

/** A desk that is not connected yet. */
export function createDesk(teacher: Teacher, gatewayUrl: string, samples: readonly File[]): Desk {
  const cable = createCable();
  const shared = tabs();
  const services = createServices(teacher, cable);
  const store = createBatchStore();
  const uploader = createUploader({ url: "v1/files/batch", token: services.token, uploaded: store.uploaded });
  const connection = connect({
    url: gatewayUrl,
    token: services.token,
    load: (why, signal) => load(why, signal),
    // The cable is this tab's own: it is nearer to the page than what the tabs share.
    tabs: { join: (wire, self) => cable.join(shared.join(wire, self), self) },
    receipts: receipts(),
  });
  const recorder = record(connection, REMEMBERED);
  const logbook = createLogbook(uploader, recorder, services);
  const listeners = new Set<() => void>();
  let view: View = { list: "fetching", batches: [], notice: "" };
  let catchUp: ReturnType<typeof setTimeout> | undefined;

  function show(change: Partial<View>): void {
    view = { ...view, ...change };
    for (const listener of [...listeners]) listener();
  }
  const put = (batch: Batch): void => show({ batches: withBatch(view.batches, batch) });

  async function fetchList(signal?: AbortSignal): Promise<void> {
    try {
      const listed = await services.batches(signal);
      store.fetched(listed);
      show({ list: "fetched", batches: listed.reduce(withListed, view.batches) });
    } catch (error) {
      if (signal?.aborted) throw error;
      show({ list: view.list === "fetched" ? "fetched" : "failed", notice: `The list could not be fetched. ${wordsOf(error)}` });
      throw error;
    }
  }
  async function load(why: LoadReason, signal: AbortSignal): Promise<void> {
    await fetchList(signal);
    show({ notice: why === "reset" ? "Some news could not be resumed; the list was fetched again." : "" });
    catchUpWhile(hasUnsettled);
  }

  /** Asks RAS again while it is behind, for as long as that can take. */
  function catchUpWhile(isBehind: () => boolean, [delay, ...rest] = CATCH_UP_MS): void {
    if (catchUp || delay === undefined || !isBehind()) return;
    catchUp = setTimeout(async () => {
      if (isBehind()) await fetchList().catch(() => {});
      catchUp = undefined;
      catchUpWhile(isBehind, rest);
    }, delay);
  }
  /** Another tab has sent a batch: when it was made, and what else is in it, only RAS knows. */
  const hasUnlisted = (): boolean =>
    [...store.batches().keys()].some((id) => !view.batches.some(({ batchId }) => batchId === id));
  /** Its essay may have been told before this page began to listen. */
  const hasUnsettled = (): boolean =>
    [...store.batches().values()].some(({ fileUploads }) => [...fileUploads.values()].some(({ status }) => status === "processing"));
  store.subscribe(() => catchUpWhile(hasUnlisted));
  // The network is back: what could not be sent goes again, and with its key it is never doubled.
  connection.subscribe(() => {
    if (connection.status.state !== "live") return;
    for (const { key } of uploader.uploads().filter(({ problem }) => problem?.retryable)) uploader.retry(key);
    for (const batch of view.batches.filter(({ problem }) => problem)) void post(batch);
  });

  async function post(batch: Batch): Promise<void> {
    put({ ...batch, problem: undefined });
    try {
      const batchId = batch.batchId ?? (await services.register(batch.files.length));
      uploader.add(batchId, batch.files);
      put({ ...batch, batchId, problem: undefined, files: [] });
    } catch (error) {
      put({ ...batch, problem: wordsOf(error) });
    }
  }
  function send(files: readonly File[]): Promise<void> {
    if (files.length === 0) return Promise.resolve();
    const createdAt = new Date().toISOString();
    return post({ key: `${createdAt} ${view.batches.length}`, createdAt, files });
  }

  return {
    ...{ teacher, cable, connection, store, uploader, logbook, samples, send },
    view: () => view,
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async retry(batch) {
      for (const { key } of uploader.uploads().filter(failedOf(batch))) uploader.retry(key);
      if (batch.files.length > 0) await post(batch);
    },
    refresh: (signal) => fetchList(signal).then(() => show({ notice: "" }), () => {}),
    isSending: () =>
      view.batches.some(({ files }) => files.length > 0) || uploader.uploads().some(({ state }) => state !== "sent" && state !== "aborted"),
  };
}

/** Two files that no essay can be made of, as they come on any morning. */
export function noEssays(): readonly File[] {
  return [new File([""], "Nothing to read.txt"), new File([new Uint8Array([255, 216, 255, 224])], "Holiday photo.jpg")];
}

const failedOf =
  (batch: Batch) =>
  ({ batchId, state }: { readonly batchId: string; readonly state: string }): boolean =>
    batchId === batch.batchId && state === "failed";

/** In its place if it is there already, else where its time says. */
function withBatch(batches: readonly Batch[], batch: Batch): readonly Batch[] {
  if (batches.some(({ key }) => key === batch.key)) return batches.map((one) => (one.key === batch.key ? batch : one));
  return [batch, ...batches].sort((one, other) => (one.createdAt < other.createdAt ? 1 : -1));
}

function withListed(batches: readonly Batch[], listed: { batch_id: string; created_at: string; essays: readonly unknown[] }): readonly Batch[] {
  const { batch_id: batchId, created_at: createdAt, essays } = listed;
  if (essays.length === 0 || batches.some((batch) => batch.batchId === batchId)) return batches;
  return withBatch(batches, { key: batchId, batchId, createdAt, files: [] });
}
