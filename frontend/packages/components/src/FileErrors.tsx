import { type ReactElement, useId } from "react";
import type { Row } from "./rows.ts";

/** Every file that failed, by its name, with the reason for people and the code for support. */
export function FileErrors({ rows }: { readonly rows: readonly Row[] }): ReactElement | null {
  const heading = useId();
  const failed = rows.filter(({ status }) => status === "failed");
  if (failed.length === 0) return null;
  return (
    <div className="ds-errors" role="group" aria-labelledby={heading}>
      <h3 id={heading}>{failed.length === 1 ? "1 file failed" : `${failed.length} files failed`}</h3>
      <ul>
        {failed.map(({ key, filename, error }) => (
          <li key={key}>
            <span className="ds-name">{filename}</span>: {error?.message} <code>{error?.code}</code>
          </li>
        ))}
      </ul>
    </div>
  );
}
