import { useBatch } from "@doorstep/client/react";
import type { Uploader } from "@doorstep/client/upload";
import { type ReactElement, type ReactNode, useId } from "react";
import { Announcer } from "./Announcer.tsx";
import { FileErrors } from "./FileErrors.tsx";
import { type Row, rowsOf } from "./rows.ts";
import { summaryOf } from "./sentences.ts";
import { useUploads } from "./useUploads.ts";

export interface BatchOverviewProps {
  readonly batchId: string;
  readonly uploader: Uploader;
  readonly title?: string;
  /** What else there is to say of a file, or to do with it. */
  readonly details?: (row: Row) => ReactNode;
}

/** Which file has become which essay, what failed and why, and how many essays are still free. */
export function BatchOverview({ batchId, uploader, title = "Files and essays", details }: BatchOverviewProps): ReactElement {
  const heading = useId();
  const batch = useBatch(batchId);
  const rows = rowsOf(batch, useUploads(uploader));
  const settled = rows.filter(({ status }) => status === "assigned" || status === "failed").length;
  const free = [...batch.essaySlots.values()].filter(({ fileUploadId }) => !fileUploadId).length;
  return (
    <section className="ds-batch" aria-labelledby={heading}>
      <h2 id={heading}>{title}</h2>
      <Announcer batch={batch} />
      <p className="ds-summary">{summaryOf(rows)}</p>
      {rows.length > 0 && <progress aria-label="Files settled" max={rows.length} value={settled} />}
      <FileErrors rows={rows} />
      {rows.length > 0 && (
        <table>
          <thead>
            <tr>
              <th scope="col">File</th>
              <th scope="col">Essay</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <FileRow key={row.key} row={row} details={details?.(row)} />
            ))}
          </tbody>
        </table>
      )}
      {free > 0 && <p className="ds-free">{free === 1 ? "1 essay has no file yet." : `${free} essays have no file yet.`}</p>}
    </section>
  );
}

function FileRow({ row, details }: { readonly row: Row; readonly details: ReactNode }): ReactElement {
  const { filename, status, trackingId } = row;
  return (
    <tr data-status={status}>
      <th scope="row">
        <span className="ds-name">{filename}</span>
        {trackingId && <code>{trackingId}</code>}
      </th>
      <td>
        <Fate row={row} />
        {details}
      </td>
    </tr>
  );
}

function Fate({ row: { filename, status, essayId, error, upload } }: { readonly row: Row }): ReactElement {
  if (status === "assigned") return <code>{essayId}</code>;
  if (status === "failed") return <span>{error?.message}</span>;
  if (status === "processing") return <span>Being processed</span>;
  if (upload?.state !== "sending") return <span>Waiting for its turn</span>;
  return (
    <>
      <span>Being sent</span>
      <progress aria-label={`Progress of ${filename}`} max={1} value={upload.progress} />
    </>
  );
}
