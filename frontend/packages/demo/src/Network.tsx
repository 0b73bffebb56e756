import { type ReactElement, useSyncExternalStore } from "react";
import type { Desk } from "./desk.ts";

const STORIES = {
  whole: "Cut it: every connection of this tab breaks. Or let it go silent: nothing comes any more, and nobody is told, as behind a router that has crashed.",
  cut: "The network of this tab is cut. What happens meanwhile is kept for it, and comes when the network is back.",
  silent: "Nothing comes and nothing goes. The page finds out by itself: within 14 seconds of quiet it says so.",
} as const;

/** The network of this tab, to be cut. */
export function Network({ desk: { cable, connection } }: { readonly desk: Desk }): ReactElement {
  const state = useSyncExternalStore(cable.subscribe, () => cable.state);
  const toggle = (wanted: "cut" | "silent"): void => {
    cable.set(state === wanted ? "whole" : wanted);
    if (state === "cut") connection.retryNow(); // as a browser does when the network returns
  };
  return (
    <section className="network" aria-labelledby="network-title">
      <h2 id="network-title">Network</h2>
      <div className="buttons">
        <button type="button" aria-pressed={state === "cut"} onClick={() => toggle("cut")}>
          Cut the network
        </button>
        <button type="button" aria-pressed={state === "silent"} onClick={() => toggle("silent")}>
          Let it go silent
        </button>
      </div>
      <p className="small" role="status">
        {STORIES[state]}
      </p>
    </section>
  );
}
