import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type Batches,
  type Fact,
  type RasBatch,
  createBatchStore,
  factOfUpload,
  factsOfNotification,
  factsOfRas,
  withFacts,
} from "../../src/state/index.ts";
import { reportedWhile } from "../support/reported.ts";
import { PARAMETERS, RUNS, SEED } from "../support/runs.ts";

const batchId = fc.constantFrom("b1", "b2");
const fileId = fc.constantFrom("f1", "f2", "f3");
const essayId = fc.constantFrom("e1", "e2", "e3");
const time = fc.constantFrom("2026-11-23T08:15:30Z", "2026-11-23T08:15:31+01:00", "2026-11-23T08:15:30.123456Z");
const name = fc.constantFrom("Åsa.txt", "essay 2.txt", "essay 10.txt", "");
const message = fc.constantFrom("The file has no text in it.", "It is too long.");

const assigned = fc.record({
  event: fc.constant("essay.slot.assigned"),
  timestamp: time,
  data: fc.record(
    { batch_id: batchId, essay_id: essayId, file_upload_id: fileId, text_storage_id: fc.constant("t"), original_file_name: name },
    { requiredKeys: ["batch_id", "essay_id", "file_upload_id", "text_storage_id"] },
  ),
});
const failed = fc.record({
  event: fc.constant("essay.validation.failed"),
  timestamp: time,
  data: fc.record({ batch_id: batchId, file_upload_id: fileId, original_file_name: name, error_code: fc.constant("EMPTY_CONTENT"), message }),
});
const other = fc.record({ event: fc.constant("batch.done"), timestamp: time, data: fc.constant({ anything: 1 }) });

const orNull = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary, { nil: null });
const ras: fc.Arbitrary<RasBatch> = fc.record(
  {
    batch_id: batchId,
    essays: fc.array(
      fc.record({
        file_upload_id: fileId,
        filename: name,
        status: fc.constant("whatever"),
        essay_id: orNull(essayId),
        text_storage_id: orNull(fc.constant("t")),
        error_code: orNull(fc.constant("EMPTY_CONTENT")),
        message: orNull(message),
        last_updated: time,
      }),
      { maxLength: 3 },
    ),
    essay_slots: fc.array(fc.record({ essay_id: essayId, file_upload_id: orNull(fileId), text_storage_id: fc.constant(null) }), { maxLength: 3 }),
  },
  { requiredKeys: ["batch_id", "essays"] },
);
const upload = fc.record({ batchId, fileUploadId: fileId, filename: name, timestamp: time });

const facts: fc.Arbitrary<Fact[]> = fc.oneof(
  fc.oneof(assigned, failed, other).map(factsOfNotification),
  ras.map(factsOfRas),
  upload.map((one) => [factOfUpload(one)]),
);

/** As data: a Map remembers the order in which it was filled, which is nothing that a page may show. */
const content = (batches: Batches): unknown =>
  [...batches.values()]
    .map((batch) => [batch.batchId, [...batch.fileUploads].sort(), [...batch.essaySlots].sort()])
    .sort();

const end = (stream: Iterable<Fact[]>): unknown => content([...stream].reduce<Batches>(withFacts, new Map()));

test(`whatever the order, the repetitions and the interleaving of what is told, the end is the same (seed ${SEED}, ${RUNS} runs)`, () => {
  const streams = fc
    .array(facts, { maxLength: 12 })
    .chain((once) => fc.tuple(fc.constant(once), fc.shuffledSubarray([...once, ...once, ...once], { minLength: 2 * once.length })))
    .map(([once, some]) => [once, [...some, ...once.filter((one) => !some.includes(one))]] as const);
  fc.assert(
    fc.property(streams, ([once, mixed]) => {
      const [one, other] = [end(mixed), end(once)];
      if (JSON.stringify(one) !== JSON.stringify(other)) expect(one).toEqual(other); // says where
    }),
    PARAMETERS,
  );
}, 600_000);

test("a repetition changes nothing, so that nothing is drawn again", () => {
  fc.assert(
    fc.property(fc.array(facts), (stream) => {
      const state = stream.reduce<Batches>(withFacts, new Map());
      expect(stream.reduce(withFacts, state)).toBe(state);
    }),
    { ...PARAMETERS, numRuns: RUNS / 50 },
  );
});

test("a file never goes back in its life, and keeps a name once it has one", () => {
  const life = ["uploading", "processing", "failed", "assigned"];
  fc.assert(
    fc.property(fc.array(facts), (stream) => {
      let state: Batches = new Map();
      for (const told of stream) {
        const before = state;
        state = withFacts(state, told);
        for (const [id, batch] of before)
          for (const [file, was] of batch.fileUploads) {
            const is = state.get(id)?.fileUploads.get(file);
            expect(life.indexOf(is?.status ?? "")).toBeGreaterThanOrEqual(life.indexOf(was.status));
            expect(was.filename === "" || is?.filename !== "").toBe(true);
          }
      }
    }),
    { ...PARAMETERS, numRuns: RUNS / 50 },
  );
});

const SLOT = {
  event: "essay.slot.assigned",
  timestamp: "2026-11-23T08:15:30Z",
  data: { batch_id: "b1", essay_id: "e1", file_upload_id: "f1", text_storage_id: "t1" },
};
const FAILED = {
  event: "essay.validation.failed",
  timestamp: "2026-11-23T08:15:31Z",
  data: { batch_id: "b1", file_upload_id: "f2", original_file_name: "Tom.txt", error_code: "EMPTY_CONTENT", message: "It is empty." },
};

test("an event that comes before the upload's answer, and an answer of RAS that lags behind it", () => {
  const store = createBatchStore();
  store.notified(SLOT);
  store.uploaded({ batchId: "b1", fileUploadId: "f1", filename: "Åsa.txt", timestamp: "2026-11-23T08:15:32Z" });
  const lagging = { file_upload_id: "f1", filename: "Åsa.txt", status: "uploaded", essay_id: null, text_storage_id: null };
  const late = { error_code: null, message: null, last_updated: "2026-11-23T08:15:33Z" };
  const free = { essay_id: "e2", file_upload_id: null, text_storage_id: null };
  store.fetched([{ batch_id: "b1", essays: [{ ...lagging, ...late }], essay_slots: [free, { ...free, essay_id: "e1" }] }]);
  store.notified(FAILED);
  const batch = store.batch("b1");
  expect(batch.fileUploads.get("f1")).toEqual({
    fileUploadId: "f1",
    filename: "Åsa.txt",
    status: "assigned",
    assignedEssayId: "e1",
    timestamp: "2026-11-23T08:15:30Z",
  });
  expect(batch.fileUploads.get("f2")).toMatchObject({ status: "failed", errorDetail: { code: "EMPTY_CONTENT", message: "It is empty." } });
  expect([...batch.essaySlots.values()]).toEqual([{ essayId: "e1", fileUploadId: "f1", textStorageId: "t1" }, { essayId: "e2" }]);
});

test("of two that say the same of a file, the one that said it first is kept", () => {
  const store = createBatchStore();
  for (const second of [32, 30, 31]) store.notified({ ...SLOT, timestamp: `2026-11-23T08:15:${second}Z` });
  expect(store.batch("b1").fileUploads.get("f1")?.timestamp).toBe("2026-11-23T08:15:30Z");
});

test("an essay that is told with its file's name needs no upload and no RAS to have one", () => {
  const store = createBatchStore();
  store.notified({ ...SLOT, data: { ...SLOT.data, original_file_name: "Åsa.txt" } });
  store.notified({ ...SLOT, data: { ...SLOT.data, file_upload_id: "f2", original_file_name: null } });
  const names = [...store.batch("b1").fileUploads.values()].map(({ filename }) => filename);
  expect(names).toEqual(["Åsa.txt", ""]);
});

test("listeners hear of changes, of nothing else, and not after they left", () => {
  const store = createBatchStore();
  let calls = 0;
  const leave = store.subscribe(() => calls++);
  expect(store.batch("b1")).toBe(store.batch("b1"));
  store.notified(SLOT);
  store.notified(SLOT);
  store.fetched([]);
  expect(calls).toBe(1);
  const batch = store.batch("b1");
  store.notified({ ...SLOT, data: { ...SLOT.data, batch_id: "b2" } });
  expect(store.batch("b1")).toBe(batch);
  leave();
  store.notified(FAILED);
  expect(calls).toBe(2);
});

test("a listener that throws keeps nothing from the others, and nothing from who tells", async () => {
  const store = createBatchStore();
  let calls = 0;
  store.subscribe(() => {
    throw new Error("mine");
  });
  store.subscribe(() => calls++);
  expect(await reportedWhile(() => store.notified(SLOT))).toEqual([new Error("mine")]);
  expect(calls).toBe(1);
});
