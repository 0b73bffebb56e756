import type { BatchState } from "@doorstep/client/state";
import { type ReactElement, useEffect, useRef, useState } from "react";
import { newsOf } from "./sentences.ts";

/** A burst is over when nothing has come for so long … */
const QUIET_MS = 800;
/** … or, if it does not end, after so long. */
const LONGEST_MS = 5000;

/** Says what happened to a batch: to a screen reader, politely, and once a burst, however many files it was. */
export function Announcer({ batch }: { readonly batch: BatchState }): ReactElement {
  const [sentence, say] = useState("");
  const said = useRef({ batch, at: 0 });
  useEffect(() => {
    if (said.current.batch.batchId !== batch.batchId) said.current = { batch, at: 0 };
    if (said.current.batch === batch) return;
    said.current.at ||= performance.now() + LONGEST_MS;
    const left = Math.max(0, Math.min(QUIET_MS, said.current.at - performance.now()));
    const timer = setTimeout(() => {
      const news = newsOf(said.current.batch, batch);
      said.current = { batch, at: 0 };
      if (news) say(news);
    }, left);
    return () => clearTimeout(timer);
  }, [batch]);
  return (
    <p role="status" className="ds-said">
      {sentence}
    </p>
  );
}
