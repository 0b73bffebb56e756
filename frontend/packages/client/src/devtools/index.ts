/** What a connection did lately, and how long a notification takes to be seen. For development and support. */

import { afterPaint } from "../paint.ts";
import type { AnyNotification, Connection, Status } from "../types.ts";

/** Something that happened. `at` is in milliseconds of `performance.now()`. */
export type Entry =
  | { readonly kind: "status"; readonly at: number; readonly status: Status }
  | {
      readonly kind: "notification";
      readonly at: number;
      readonly notification: AnyNotification;
      /** From the notification's arrival to the end of the frame that shows it; missing until then, and in a hidden tab. */
      readonly paintMs?: number;
    };

export interface Recorder {
  /** The last ones, the oldest first. */
  entries(): readonly Entry[];
  /** The time to paint that a share of the notifications did not exceed (0.5: the median); undefined without any. */
  paintMs(share: number): number | undefined;
  /** All of it as text, for a report. It has the content of notifications, and no token. */
  dump(): string;
  /** Ends it. */
  stop(): void;
}

/** Records the last `size` things that happen to a connection. */
export function record(connection: Connection, size = 500): Recorder {
  const ring: Entry[] = [];
  const add = (entry: Entry): void => {
    ring.push(entry);
    if (ring.length > size) ring.shift();
  };
  /** This one is on the screen, and all before it. */
  const painted = (last: Entry): void => {
    const now = performance.now();
    for (let place = ring.indexOf(last); place >= 0; place--) {
      const entry = ring[place] as Entry;
      if ("paintMs" in entry) return;
      if (entry.kind === "notification") ring[place] = { ...entry, paintMs: now - entry.at };
    }
  };
  const leave = [
    connection.subscribe(() => add({ kind: "status", at: performance.now(), status: connection.status })),
    connection.onAny((notification) => {
      const entry: Entry = { kind: "notification", at: performance.now(), notification };
      add(entry);
      afterPaint(ring, () => painted(entry));
    }),
  ];
  return {
    entries: () => [...ring],
    paintMs: (share) => {
      const times = ring.flatMap((entry) => ("paintMs" in entry && entry.paintMs !== undefined ? [entry.paintMs] : []));
      return times.sort((one, other) => one - other)[Math.min(times.length - 1, Math.floor(times.length * share))];
    },
    dump: () => JSON.stringify(ring, null, 2),
    stop: () => leave.forEach((end) => end()),
  };
}
