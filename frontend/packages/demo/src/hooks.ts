import { useNotifications } from "@doorstep/client/react";
import { useCallback, useEffect, useReducer, useRef, useSyncExternalStore } from "react";
import type { Desk, View } from "./desk.ts";

/** A burst is drawn at once, when it has been painted. */
const PAUSE_MS = 150;

/** What is shown of a desk. */
export function useView(desk: Desk): View {
  return useSyncExternalStore(desk.subscribe, desk.view);
}

/** Draws again some time after the frame that shows the last notification: its time to paint is known then. */
export function useNewsAfterPaint(): void {
  const [, draw] = useReducer((count: number) => count + 1, 0);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const later = useCallback(() => {
    requestAnimationFrame(() => {
      clearTimeout(timer.current);
      timer.current = setTimeout(draw, PAUSE_MS);
    });
  }, []);
  useNotifications("*", later);
  useEffect(() => {
    later();
    return () => clearTimeout(timer.current);
  }, [later]);
}
