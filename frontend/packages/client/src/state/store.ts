/** Batches that a page can subscribe to. */

import { type BatchState, type Batches, type Fact, emptyBatch, withFacts } from "./batch.ts";
import { type RasBatch, type UploadedFile, factOfUpload, factsOfNotification, factsOfRas } from "./facts.ts";

/** Everything of one user that this page knows. Its methods need no `this`. */
export interface BatchStore {
  /** All batches: the same object until something changes. */
  batches(): Batches;
  /** One batch, empty if nothing is known of it: the same object until something changes. */
  batch(batchId: string): BatchState;
  /** Called after each change; returns how to end that. */
  subscribe(listener: () => void): () => void;
  /** Takes a notification: give it to `connection.onAny`. */
  notified(notification: { event: string; timestamp: string; data: unknown }): void;
  /** Takes what RAS answered: call it in `load`. */
  fetched(batches: Iterable<RasBatch>): void;
  /** Takes a file that the File Service has accepted: give it to `createUploader`. */
  uploaded(file: UploadedFile): void;
}

/** A store that knows nothing yet. A page makes one for each user who signs in. */
export function createBatchStore(): BatchStore {
  const listeners = new Set<() => void>();
  const unknown = new Map<string, BatchState>();
  let batches: Batches = new Map();

  const take = (facts: Iterable<Fact>): void => {
    const next = withFacts(batches, facts);
    if (next === batches) return;
    batches = next;
    listeners.forEach(async (listener) => listener()); // what one throws is reported, and stops no other
  };
  const empty = (batchId: string): BatchState => {
    if (!unknown.has(batchId)) unknown.set(batchId, emptyBatch(batchId));
    return unknown.get(batchId) as BatchState;
  };

  return {
    batches: () => batches,
    batch: (batchId) => batches.get(batchId) ?? empty(batchId),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    notified: (notification) => take(factsOfNotification(notification)),
    fetched: (answers) => take([...answers].flatMap(factsOfRas)),
    uploaded: (file) => take([factOfUpload(file)]),
  };
}
