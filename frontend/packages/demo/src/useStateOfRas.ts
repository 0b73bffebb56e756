import { useStatus } from "@doorstep/client/react";
import { useEffect } from "react";
import type { Desk } from "./desk.ts";

const PAUSE_MS = 5_000;

/** While nothing is live the page still shows the truth: it asks RAS, every five seconds and while it is looked at. */
export function useStateOfRas(desk: Desk): void {
  const { state } = useStatus();
  const isLive = state === "live" || state === "polling";
  useEffect(() => {
    if (isLive) return;
    const ended = new AbortController();
    const timer = setInterval(() => void (document.hidden || desk.refresh(ended.signal)), PAUSE_MS);
    return () => {
      clearInterval(timer);
      ended.abort();
    };
  }, [desk, isLive]);
}
