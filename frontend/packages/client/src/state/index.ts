export {
  type BatchState,
  type Batches,
  type ErrorDetail,
  type EssaySlot,
  type Fact,
  type FileStatus,
  type FileUploadState,
  emptyBatch,
  withFacts,
} from "./batch.ts";
export {
  type RasBatch,
  type RasEssay,
  type RasSlot,
  type UploadedFile,
  factOfUpload,
  factsOfNotification,
  factsOfRas,
} from "./facts.ts";
export { type BatchStore, createBatchStore } from "./store.ts";
