import { DoorstepProvider } from "@doorstep/client/react";
import { ConnectionStatus, filesOfDrop } from "@doorstep/components";
import { type ReactElement, useEffect, useState } from "react";
import { Batches } from "./Batches.tsx";
import { type Desk, noEssays } from "./desk.ts";
import { Latency } from "./Latency.tsx";
import { Network } from "./Network.tsx";
import { Send } from "./Send.tsx";
import { Teachers } from "./Teachers.tsx";
import { useStateOfRas } from "./useStateOfRas.ts";

/** The page of whoever is signed in. */
export function App({ desks, first }: { readonly desks: readonly Desk[]; readonly first: Desk }): ReactElement {
  const [desk, setDesk] = useState(first);
  useEffect(() => {
    history.replaceState(null, "", `?teacher=${desk.teacher.user_id}${location.hash}`);
  }, [desk]);
  useQuestionBeforeLeaving(desks);
  useDrops(desk);
  const startMorning = (): void => desks.forEach((one) => void one.send([...one.samples, ...noEssays()]));
  return (
    <DoorstepProvider connection={desk.connection} store={desk.store}>
      <a className="skip" href="#essays">
        Skip to the essays
      </a>
      <header className="top">
        <img src="./icon.svg" alt="" width="44" height="44" />
        <div className="brand">
          <h1>Doorstep</h1>
          <p>Every event, at the right door.</p>
        </div>
        <ConnectionStatus />
      </header>
      <main>
        <div className="side">
          <Teachers desks={desks} desk={desk} onChoose={setDesk} />
          <Send desk={desk} onMorning={startMorning} />
        </div>
        <Batches desk={desk} />
        <div className="side watch">
          <Latency desk={desk} />
          <Network desk={desk} />
        </div>
      </main>
      <RasWatch desk={desk} />
    </DoorstepProvider>
  );
}

/** Below the provider, so that it knows how the connection is. */
function RasWatch({ desk }: { readonly desk: Desk }): null {
  useStateOfRas(desk);
  return null;
}

/** Files that are not sent yet are lost with the page, so the browser asks. */
function useQuestionBeforeLeaving(desks: readonly Desk[]): void {
  useEffect(() => {
    const ask = (event: BeforeUnloadEvent): void => {
      if (desks.some((desk) => desk.isSending())) event.preventDefault();
    };
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [desks]);
}

/** Files can be dropped anywhere: nobody loses the page because of an inch. */
function useDrops(desk: Desk): void {
  useEffect(() => {
    const over = (event: DragEvent): void => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    };
    const drop = async (event: DragEvent): Promise<void> => {
      if (event.defaultPrevented || !event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      await desk.send(await filesOfDrop(event.dataTransfer));
    };
    addEventListener("dragover", over);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("drop", drop);
    };
  }, [desk]);
}
