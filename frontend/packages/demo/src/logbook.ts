/** What happened to a file, from the moment it was chosen to the frame that showed its essay. */

import type { AnyNotification } from "@doorstep/client";
import type { Recorder } from "@doorstep/client/devtools";
import type { Upload, Uploader } from "@doorstep/client/upload";

/** A step of a file's way. `at` is in milliseconds since 1970, by this page's clock. */
export interface Step {
  readonly what: string;
  readonly where: string;
  readonly at: number;
}

/** The way of one file, and everything that has an id on it. */
export interface Way {
  readonly steps: readonly Step[];
  readonly ids: readonly (readonly [name: string, value: string])[];
}

export interface Logbook {
  /** The way of a file so far. What happened while this page was not open is not known here. */
  wayOf(fileUploadId: string): Way;
  /** From the event to the frame that shows it, in milliseconds, in the order in which they came. */
  latencies(): readonly number[];
}

/** When an upload came to a state, by its key. */
type Marks = Map<string, Partial<Record<Upload["state"], number>>>;

interface Arrival {
  readonly notification: AnyNotification;
  readonly happened: number;
  readonly at: number;
  readonly painted?: number | undefined;
}

/** Keeps watch of what an uploader sends and a recorder records. `clock` says how far the server's is ahead. */
export function createLogbook(uploader: Uploader, recorder: Recorder, clock: { readonly clockAheadMs: number }): Logbook {
  const marks: Marks = new Map();
  uploader.subscribe(() => {
    for (const { key, state } of uploader.uploads()) {
      const mark = marks.get(key) ?? {};
      mark[state] ??= performance.timeOrigin + performance.now();
      marks.set(key, mark);
    }
  });
  const arrivals = (): Arrival[] =>
    recorder.entries().flatMap((entry) => {
      if (entry.kind !== "notification") return [];
      const { notification, paintMs } = entry;
      const at = performance.timeOrigin + entry.at;
      const happened = Math.min(at, Date.parse(notification.timestamp) - clock.clockAheadMs);
      return [{ notification, happened, at, painted: paintMs === undefined ? undefined : at + paintMs }];
    });

  return {
    wayOf(fileUploadId) {
      const upload = uploader.uploads().find((one) => one.fileUploadId === fileUploadId);
      const arrival = arrivals().find(({ notification }) => fileOf(notification) === fileUploadId);
      const steps = [...stepsOfUpload(marks.get(upload?.key ?? "") ?? {}), ...(arrival ? stepsOf(arrival) : [])];
      return { steps: steps.sort((one, other) => one.at - other.at), ids: idsOf(fileUploadId, upload, arrival?.notification) };
    },
    latencies: () =>
      arrivals().flatMap(({ happened, painted }) => (painted === undefined ? [] : [painted - happened])),
  };
}

/** The value that a share of the values does not exceed (0.5: the median); undefined without any. */
export function quantile(values: readonly number[], share: number): number | undefined {
  return [...values].sort((one, other) => one - other)[Math.min(values.length - 1, Math.floor(values.length * share))];
}

function stepsOfUpload({ queued, sending, sent }: Partial<Record<Upload["state"], number>>): Step[] {
  const steps = [
    { what: "Chosen", where: "this page", at: queued },
    { what: "Sending began", where: "this page", at: sending },
    { what: "The answer: stored, and Kafka told", where: "this page, from the File Service", at: sent },
  ];
  return steps.flatMap(({ at, ...step }) => (at === undefined ? [] : [{ ...step, at }]));
}

function stepsOf({ notification, happened, at, painted }: Arrival): Step[] {
  const isEssay = notification.event === "essay.slot.assigned";
  return [
    {
      what: isEssay ? "An essay was assigned, and Kafka told" : "Refused, and Kafka told",
      where: isEssay ? "Essay Lifecycle Service" : "File Service",
      at: happened,
    },
    { what: "The notification arrived", where: "this page, from Doorstep", at },
    ...(painted === undefined ? [] : [{ what: "On the screen", where: "this page", at: painted }]),
  ];
}

function idsOf(fileUploadId: string, upload: Upload | undefined, notification: AnyNotification | undefined): Way["ids"] {
  const data: Readonly<Record<string, unknown>> = { ...notification?.data };
  const ids: readonly (readonly [string, unknown])[] = [
    ["Tracking id of the file", fileUploadId],
    ["Batch", data.batch_id ?? upload?.batchId],
    ["Essay", data.essay_id],
    ["Stored text", data.text_storage_id],
    ["Error", data.error_code],
    ["Correlation id", notification?.correlation_id ?? upload?.correlationId],
    ["Event", notification?.event],
    ["Event id", notification?.id],
    ["Cursor", notification?.cursor],
    ["Trace", notification?.traceparent],
  ];
  return ids.flatMap(([name, value]) => (value ? [[name, String(value)] as const] : []));
}

function fileOf({ data }: AnyNotification): unknown {
  return "file_upload_id" in data ? data.file_upload_id : undefined;
}
