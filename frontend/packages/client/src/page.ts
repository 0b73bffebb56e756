/** What the page goes through, as inputs of the machine. */

import type { Input } from "./machine.ts";

/** Says how the page is now, and then whatever changes; returns how to end that. Outside of a page: nothing. */
export function watchPage(tell: (input: Input) => void): () => void {
  if (typeof document === "undefined") return () => {};
  const ended = new AbortController();
  const look = () => tell({ type: "look", visible: !document.hidden, online: navigator.onLine });
  const options = { capture: true, signal: ended.signal };
  for (const type of ["visibilitychange", "resume", "online", "offline"]) addEventListener(type, look, options);
  for (const type of ["pagehide", "pageshow"] as const) addEventListener(type, () => tell({ type }), options);
  look();
  return () => ended.abort();
}
