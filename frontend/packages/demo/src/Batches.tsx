import { useStatus } from "@doorstep/client/react";
import { BatchOverview, useUploads } from "@doorstep/components";
import { type ReactElement, useRef, useState } from "react";
import type { Batch, Desk } from "./desk.ts";
import { FileActions } from "./FileActions.tsx";
import { useView } from "./hooks.ts";
import { WayOfAFile } from "./WayOfAFile.tsx";

/** Everything a teacher has handed in, the newest first. */
export function Batches({ desk }: { readonly desk: Desk }): ReactElement {
  const { list, batches, notice } = useView(desk);
  const [chosen, choose] = useState<{ readonly fileUploadId: string; readonly filename: string }>();
  return (
    <section className="essays" id="essays" aria-labelledby="essays-title" tabIndex={-1} aria-busy={list === "fetching"}>
      <div className="essays-head">
        <h2 id="essays-title">Essays</h2>
        <p className="notice" role="status">
          {notice}
        </p>
      </div>
      {batches.length === 0 && <Nothing desk={desk} />}
      {batches.map((batch, index) => (
        <BatchCard key={batch.key} desk={desk} batch={batch} title={titleOf(batch, batches.length - index)} onChoose={choose} />
      ))}
      {chosen && <WayOfAFile key={chosen.fileUploadId} desk={desk} {...chosen} onClose={() => choose(undefined)} />}
    </section>
  );
}

/** Why there is nothing to see: nothing was sent, or nobody knows yet. */
function Nothing({ desk }: { readonly desk: Desk }): ReactElement {
  const { list } = useView(desk);
  const { state } = useStatus();
  if (list !== "fetched") {
    return (
      <div className="empty">
        <p>
          <strong>{list === "failed" ? "Your essays can’t be fetched just now." : "Your essays are being fetched …"}</strong>
        </p>
        {list === "failed" && <p>They are safe. This page goes on trying{state === "live" ? "" : ", every five seconds"}.</p>}
      </div>
    );
  }
  return (
    <div className="empty">
      <p>
        <strong>Nothing has been sent yet.</strong>
      </p>
      <p>
        Each file you drop goes to the File Service; its text gets an essay from the Essay Lifecycle Service; Kafka
        carries the news to Doorstep, and Doorstep to this page, and to every other tab of the same teacher. Open a
        second one to see it.
      </p>
    </div>
  );
}

interface BatchCardProps {
  readonly desk: Desk;
  readonly batch: Batch;
  readonly title: string;
  readonly onChoose: (file: { readonly fileUploadId: string; readonly filename: string }) => void;
}

function BatchCard({ desk, batch, title, onChoose }: BatchCardProps): ReactElement {
  const card = useRef<HTMLElement>(null);
  const uploads = useUploads(desk.uploader).filter(({ batchId }) => batchId === batch.batchId);
  const failed = batch.files.length + uploads.filter(({ state }) => state === "failed").length;
  const again = (): void => {
    card.current?.focus(); // the button goes away
    void desk.retry(batch);
  };
  return (
    <article className="batch" ref={card} tabIndex={-1} aria-label={title}>
      {batch.batchId ? (
        <BatchOverview
          batchId={batch.batchId}
          uploader={desk.uploader}
          title={title}
          details={(row) => <FileActions row={row} uploader={desk.uploader} onChoose={onChoose} />}
        />
      ) : (
        <Unsent batch={batch} title={title} />
      )}
      {failed > 0 && (batch.problem || batch.batchId) && (
        <button type="button" className="main again" onClick={again}>
          {failed === 1 ? "Try again with 1 file" : `Try again with ${failed} files`}
        </button>
      )}
    </article>
  );
}

/** Files that have no batch yet. */
function Unsent({ batch: { files, problem }, title }: { readonly batch: Batch; readonly title: string }): ReactElement {
  const count = files.length === 1 ? "1 file" : `${files.length} files`;
  return (
    <section className="ds-batch">
      <h2>{title}</h2>
      <p className={problem && "bad"} role="status">
        {problem ? `${count}, not sent. ${problem} Nothing is lost while this page is open.` : `${count}, about to be sent …`}
      </p>
    </section>
  );
}

function titleOf({ createdAt }: Batch, number: number): string {
  return `Batch ${number}, handed in at ${new Date(createdAt).toLocaleTimeString([], { hourCycle: "h23" })}`;
}
