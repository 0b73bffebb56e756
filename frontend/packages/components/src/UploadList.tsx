import type { Upload, Uploader } from "@doorstep/client/upload";
import { type ReactElement, useEffect, useRef } from "react";
import { useUploads } from "./useUploads.ts";

/** What this page sends: progress, tracking id, and a button to stop or to send again. */
export function UploadList({ uploader }: { readonly uploader: Uploader }): ReactElement | null {
  const uploads = useUploads(uploader);
  if (uploads.length === 0) return null;
  return (
    <ul className="ds-uploads" aria-label="Uploads">
      {uploads.map((upload) => (
        <UploadItem key={upload.key} upload={upload} uploader={uploader} />
      ))}
    </ul>
  );
}

const STATES: Readonly<Record<Upload["state"], string>> = {
  queued: "Waiting for its turn",
  sending: "Being sent",
  sent: "Sent",
  failed: "Not sent",
  aborted: "Stopped",
};

function UploadItem({ upload, uploader }: { readonly upload: Upload; readonly uploader: Uploader }): ReactElement {
  const { key, file, state, progress, fileUploadId, problem } = upload;
  const item = useRef<HTMLLIElement>(null);
  const hasFocus = useRef(false);
  const isOver = state === "failed" || state === "aborted";
  useEffect(() => {
    if (state === "sent" && hasFocus.current) item.current?.focus(); // its button is gone
  }, [state]);
  return (
    <li ref={item} tabIndex={-1} data-state={state}>
      <span className="ds-name">{file.name}</span>
      <span className="ds-fate">
        {STATES[state]}
        {problem && `: ${problem.detail}`}
      </span>
      {(state === "queued" || state === "sending") && <progress aria-label={`Progress of ${file.name}`} max={1} value={progress} />}
      {fileUploadId && (
        <span className="ds-tracking">
          Tracking id <code>{fileUploadId}</code>
        </span>
      )}
      {state !== "sent" && (
        <button
          type="button"
          aria-label={`${isOver ? "Send again" : "Stop"}: ${file.name}`}
          onFocus={() => (hasFocus.current = true)}
          onBlur={() => (hasFocus.current = false)}
          onClick={() => (isOver ? uploader.retry(key) : uploader.abort(key))}
        >
          {isOver ? "Send again" : "Stop"}
        </button>
      )}
    </li>
  );
}
