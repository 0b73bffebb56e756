// Every component in every state, for the browser tests: `window.gallery` changes what is shown.
import "../../src/doorstep.css";
import type { Status } from "@doorstep/client";
import { DoorstepProvider } from "@doorstep/client/react";
import { createBatchStore } from "@doorstep/client/state";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { HandConnection } from "../../../client/test/support/connection.ts";
import { BatchOverview, ConnectionStatus, FilePicker, UploadList } from "../../src/index.ts";
import { HandUploader } from "../support/uploader.ts";

const connection = new HandConnection();
const uploader = new HandUploader();
const store = createBatchStore();
const NAMES = ["Åsa Öberg.txt", "essay 2.txt", "essay 10.txt", `${"a very long name of a file ".repeat(6)}.txt`, "作文.txt"];

const gallery = {
  status: (status: Status): void => connection.set(status),
  /** A morning: some files are essays, one failed, some are on their way, one isn't sent. */
  fill(): void {
    const last_updated = "2026-11-23T08:15:30Z";
    const none = { essay_id: null, text_storage_id: null, error_code: null, message: null, last_updated, status: "" };
    const essays = NAMES.map((filename, index) => ({ ...none, file_upload_id: `0f9d2c1e-0000-4000-8000-00000000000${index}`, filename }));
    const slots = ["free-1", "free-2"].map((essay_id) => ({ essay_id, file_upload_id: null, text_storage_id: null }));
    store.fetched([{ batch_id: "b1", essays, essay_slots: slots }]);
    for (const { file_upload_id } of essays.slice(0, 2)) gallery.assign(file_upload_id);
    store.notified({
      event: "essay.validation.failed",
      timestamp: last_updated,
      data: {
        ...{ batch_id: "b1", file_upload_id: essays[2]?.file_upload_id, original_file_name: "essay 10.txt" },
        ...{ error_code: "EMPTY_CONTENT", message: "The file has no text in it." },
      },
    });
    uploader.fill("b1");
  },
  assign: (file_upload_id: string): void =>
    store.notified({
      event: "essay.slot.assigned",
      timestamp: "2026-11-23T08:15:31Z",
      data: { batch_id: "b1", essay_id: `7c1f-${file_upload_id}`, file_upload_id, text_storage_id: "0".repeat(32) },
    }),
  calls: (): readonly string[] => [...connection.calls, ...uploader.calls],
};
Object.assign(window, { gallery });

const place = document.getElementById("page");
if (place)
  createRoot(place).render(
    <StrictMode>
      <DoorstepProvider connection={connection} store={store}>
        <h1>Essays of English 5</h1>
        <ConnectionStatus />
        <FilePicker onFiles={(files) => uploader.add("b1", files)} />
        <UploadList uploader={uploader} />
        <BatchOverview batchId="b1" uploader={uploader} />
      </DoorstepProvider>
    </StrictMode>,
  );
