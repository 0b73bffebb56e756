import type { Uploader } from "@doorstep/client/upload";
import type { Row } from "@doorstep/components";
import type { ReactElement } from "react";

export interface FileActionsProps {
  readonly row: Row;
  readonly uploader: Uploader;
  readonly onChoose: (file: { readonly fileUploadId: string; readonly filename: string }) => void;
}

/** One button a file, which stays the same one whatever it is for, so that it keeps the focus. */
export function FileActions({ row: { filename, trackingId, upload }, uploader, onChoose }: FileActionsProps): ReactElement {
  const [name, act] = trackingId
    ? (["What happened?", () => onChoose({ fileUploadId: trackingId, filename })] as const)
    : upload?.state === "failed" || upload?.state === "aborted"
      ? (["Try again", () => uploader.retry(upload.key)] as const)
      : (["Stop", () => uploader.abort(upload?.key ?? "")] as const);
  return (
    <button type="button" className="act" aria-label={`${name} ${filename}`} onClick={act}>
      {name}
    </button>
  );
}
