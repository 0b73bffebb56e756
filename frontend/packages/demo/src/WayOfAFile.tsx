import { useBatch } from "@doorstep/client/react";
import { type ReactElement, useEffect, useRef, useState } from "react";
import type { Desk } from "./desk.ts";
import { useNewsAfterPaint } from "./hooks.ts";
import type { Step } from "./logbook.ts";

export interface WayOfAFileProps {
  readonly desk: Desk;
  readonly fileUploadId: string;
  readonly filename: string;
  readonly onClose: () => void;
}

/** What happened to a file, from upload to paint, and every id that it met on its way. */
export function WayOfAFile({ desk, fileUploadId, filename, onClose }: WayOfAFileProps): ReactElement {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (!dialog.current?.open) dialog.current?.showModal();
    title.current?.focus();
  }, []);
  useNewsAfterPaint();
  const { steps, ids } = desk.logbook.wayOf(fileUploadId);
  useBatch(ids.find(([name]) => name === "Batch")?.[1] ?? ""); // it may go on while it is looked at
  return (
    <dialog ref={dialog} aria-labelledby="way-title" onClose={onClose}>
      <h2 id="way-title" ref={title} tabIndex={-1}>What happened to {filename}</h2>
      <div className="scrolls">
        {steps.length > 0 ? (
          <Steps steps={steps} />
        ) : (
          <p>It was before this page was opened: what has become of it was told by the Result Aggregator Service.</p>
        )}
        <dl className="ids">
          {ids.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>
                <code>{value}</code> <Copy name={name} value={value} />
              </dd>
            </div>
          ))}
        </dl>
      </div>
      <form method="dialog">
        <button className="main">Close</button>
      </form>
    </dialog>
  );
}

function Steps({ steps }: { readonly steps: readonly Step[] }): ReactElement {
  const start = steps[0]?.at ?? 0;
  return (
    <ol className="steps">
      {steps.map(({ what, where, at }, step) => (
        <li key={what}>
          <span className="what">{what}</span>
          <span className="where">{where}</span>
          <span className="at">{step ? `+ ${Math.round(at - start)} ms` : clock(at)}</span>
        </li>
      ))}
    </ol>
  );
}

function Copy({ name, value }: { readonly name: string; readonly value: string }): ReactElement {
  const [said, say] = useState("Copy");
  const copy = (): void => void copied(value).then(() => say("Copied"), () => say("Select it instead"));
  return (
    <button type="button" className="act" aria-label={`${said}: ${name}`} onClick={copy}>
      {said}
    </button>
  );
}

/** A page that came without TLS has no clipboard; what is shown can be selected all the same. */
async function copied(text: string): Promise<void> {
  await navigator.clipboard.writeText(text);
}

const CLOCK = new Intl.DateTimeFormat([], {
  ...{ hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" },
});
const clock = (at: number): string => CLOCK.format(at);
