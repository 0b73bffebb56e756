import type { Status } from "@doorstep/client";
import { useDoorstep, useStatus } from "@doorstep/client/react";
import { type ReactElement, useEffect, useRef, useState } from "react";
import { sentenceOf } from "./sentences.ts";

/** How long a connection may be away before a teacher is told: a reconnect that works is nobody's business. */
const PATIENCE_MS = 1500;

/** Whether the page is live; if not, why, and a button to try again. */
export function ConnectionStatus(): ReactElement {
  const { connection } = useDoorstep();
  const status = useCalmStatus();
  const text = useRef<HTMLParagraphElement>(null);
  const retry = (): void => {
    text.current?.focus(); // the button goes away
    connection.retryNow();
  };
  return (
    <div className="ds-status" data-state={status.state}>
      <p role="status" tabIndex={-1} ref={text}>
        {sentenceOf(status)}
      </p>
      {(status.state === "waiting" || status.state === "blocked") && (
        <button type="button" onClick={retry}>
          Try again now
        </button>
      )}
    </div>
  );
}

/** The status, but that it is no longer live is told only when that lasts. */
function useCalmStatus(): Status {
  const status = useStatus();
  const isLive = status.state === "live" || status.state === "polling";
  const [held, hold] = useState<Status | null>(null);
  if (isLive && held !== status) hold(status);
  useEffect(() => {
    if (isLive) return;
    const timer = setTimeout(() => hold(null), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [isLive]);
  return isLive || status.state === "blocked" ? status : (held ?? status);
}
