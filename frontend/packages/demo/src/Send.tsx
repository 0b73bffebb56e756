import { FilePicker } from "@doorstep/components";
import type { ReactElement } from "react";
import { type Desk, noEssays } from "./desk.ts";

/** Where essays come from: a teacher's own files, or samples. */
export function Send({ desk, onMorning }: { readonly desk: Desk; readonly onMorning: () => void }): ReactElement {
  return (
    <section className="send" aria-labelledby="send-title">
      <h2 id="send-title">Hand in essays</h2>
      <FilePicker onFiles={(files) => void desk.send(files)} />
      <div className="buttons">
        <button type="button" className="main" onClick={() => void desk.send(desk.samples)}>
          Send 30 sample essays
        </button>
        <button type="button" onClick={() => void desk.send(noEssays())}>
          Send two that are no essays
        </button>
        <button type="button" onClick={onMorning}>
          A whole school’s morning
        </button>
      </div>
      <p className="small">A morning: each of the three teachers hands in 32 files, all at once, and two of them are no essays.</p>
    </section>
  );
}
