import { useSyncExternalStore } from "react";
import type { Desk, View } from "./desk.ts";

/** What is shown of a desk. */
export function useView(desk: Desk): View {
  return useSyncExternalStore(desk.subscribe, desk.view);
}
