/**
 * Tells the server what a user has been shown: `{"op":"ack","cursor":…}`, the cursor of the last notification that
 * every listener has had and whose frame is on the screen. A hidden page shows nothing, so it says nothing.
 */

import { afterPaint } from "../paint.ts";
import type { Layer, Socket } from "../types.ts";

/** At most one acknowledgement in so long; what is shown meanwhile goes with the next. */
const PAUSE_MS = 1_000;

/** For `connect({ receipts: receipts() })`. By long polling nothing is said: the next poll asks from its cursor. */
export function receipts(): Layer {
  return {
    join(transports, connection) {
      /** The socket that something has come through, and so takes something. */
      let open: Socket | undefined;
      let shown = "";
      let said = "";
      let timer: ReturnType<typeof setTimeout> | undefined;

      const tell = (): void => {
        if (timer || !open || shown === said) return;
        said = shown;
        open.send(JSON.stringify({ op: "ack", cursor: shown }));
        timer = setTimeout(() => {
          timer = undefined;
          tell();
        }, PAUSE_MS);
      };

      connection.onAny(({ cursor }) =>
        afterPaint(connection, () => {
          shown = cursor;
          tell();
        }),
      );
      return {
        ...transports,
        socket(url, protocols, { message, closed }) {
          const leave = (): void => {
            if (open === socket) open = undefined;
          };
          const socket = transports.socket(url, protocols, {
            message(text) {
              open = socket;
              message(text);
              tell();
            },
            closed(code) {
              leave();
              closed(code);
            },
          });
          return {
            send: (text) => socket.send(text),
            close() {
              leave();
              socket.close();
            },
          };
        },
      };
    },
  };
}
