/** A connection and its batches in React: safe in StrictMode, and on a server, where nothing connects. */

import {
  type ReactElement,
  type ReactNode,
  createContext,
  createElement,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
} from "react";
import type { BatchState, BatchStore, Batches } from "../state/index.ts";
import type { AnyNotification, Connection, EventName, Notification, Status } from "../types.ts";

interface Doorstep {
  readonly connection: Connection;
  readonly store: BatchStore;
}

const Context = createContext<Doorstep | null>(null);

const IDLE: Status = { state: "idle" };

export interface DoorstepProviderProps extends Doorstep {
  readonly children?: ReactNode;
}

/** Connects while it is mounted, and lets the store hear of every notification. */
export function DoorstepProvider({ connection, store, children }: DoorstepProviderProps): ReactElement {
  useEffect(() => {
    const leave = connection.onAny(store.notified);
    connection.start();
    return () => {
      connection.stop();
      leave();
    };
  }, [connection, store]);
  const value = useMemo(() => ({ connection, store }), [connection, store]);
  return createElement(Context.Provider, { value }, children);
}

/** What the provider was given: for `retryNow` and `logout`. Throws outside of a `DoorstepProvider`. */
export function useDoorstep(): Doorstep {
  const doorstep = useContext(Context);
  if (!doorstep) throw new Error("There is no <DoorstepProvider> around this component.");
  return doorstep;
}

/** How the connection is. */
export function useStatus(): Status {
  const { connection } = useDoorstep();
  return useSyncExternalStore(connection.subscribe, () => connection.status, () => IDLE);
}

/** One batch, with all that is known of it; empty if nothing is. */
export function useBatch(batchId: string): BatchState {
  const { store } = useDoorstep();
  const batch = (): BatchState => store.batch(batchId);
  return useSyncExternalStore(store.subscribe, batch, batch);
}

/** All batches by their id, with all that is known of them. */
export function useBatches(): Batches {
  const { store } = useDoorstep();
  return useSyncExternalStore(store.subscribe, store.batches, store.batches);
}

/** Calls `listener` with each notification of that name while the component is mounted; `*`: with every one. */
export function useNotifications(event: "*", listener: (notification: AnyNotification) => void): void;
export function useNotifications<E extends EventName>(event: E, listener: (notification: Notification<E>) => void): void;
export function useNotifications(event: string, listener: (notification: never) => void): void {
  const { connection } = useDoorstep();
  const latest = useRef(listener);
  useEffect(() => {
    latest.current = listener;
  });
  useEffect(() => {
    const call = (notification: unknown): void => latest.current(notification as never);
    return event === "*" ? connection.onAny(call) : connection.on(event, call);
  }, [connection, event]);
}
