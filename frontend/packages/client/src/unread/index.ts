/**
 * How many notifications a user has not read: the same on all devices, because the server remembers it. A notification
 * is read with all before it.
 */

import type { Layer, Socket } from "../types.ts";
import { userOf } from "../user.ts";

/** While one is said, the next wait so long, and go as one. */
const PAUSE_MS = 1_000;
/** What a tab asks the others: how far has the user read? The answer is never negative. */
const ASK = -1;

/** For `connect({ unread })`, and for whoever shows it. */
export interface Unread extends Layer {
  /** 0 until a server has told how far the user has read; an older one never does. */
  readonly count: number;
  /** Whether the user has read this one, as far as is known. */
  isRead(notification: Place): boolean;
  /** The user has read this one and all before it; without one, everything that has come. */
  markRead(notification?: Place): void;
  /** Called after each change; returns how to end that. Fits `useSyncExternalStore`. */
  subscribe(listener: () => void): () => void;
}

/** A notification, as far as it goes. */
interface Place {
  readonly seq: number;
  readonly cursor: string;
}

const NOTHING: Place = { seq: 0, cursor: "" };

/** What is looked at in messages and answers. The data of what has a number is the producer's. */
interface Message {
  readonly seq?: number;
  readonly cursor?: string | null;
  readonly read?: number;
  readonly reset?: boolean;
  readonly data?: { readonly read?: number; readonly reason?: string; readonly resumed?: boolean };
}

/** For `connect({ unread })`: `const unread = createUnread()`. */
export function createUnread(): Unread {
  const listeners = new Set<() => void>();
  /** Where the page stands, what was marked here, and how far the server says that the user has read. */
  let last = NOTHING;
  let marked = NOTHING;
  let read = NaN;
  let shown = 0;
  /** The last socket that something has come through, and what was said by it; one that is closed takes nothing. */
  let open: Socket | undefined;
  let said = NOTHING;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Tabs that share one connection: the one that leads hears the server, and tells the others. */
  let channel: BroadcastChannel | undefined;
  let room = "";

  const readUpTo = () => Math.max(read, marked.seq);
  /** Only to a server that has told how far: an older one would not understand it. */
  const isPending = () => marked.seq > read;

  function show(): void {
    const count = Math.max(last.seq - readUpTo(), 0) || 0;
    if (count === shown) return;
    shown = count;
    listeners.forEach(async (listener) => listener()); // what one throws is reported, and stops no other
  }

  /** Tell the other tabs; nothing while it is not known. */
  function post(what = read): void {
    if (what >= ASK) channel?.postMessage(what);
  }

  function learn(now: number): void {
    read = now;
    show();
    tell();
  }

  function hear({ seq, cursor, data = {}, reset, read: now = data.read }: Message): void {
    if (cursor) last = { seq: parseInt(cursor), cursor };
    if (!seq && (reset || data.reason || data.resumed === false)) marked = NOTHING; // that was another log
    if (seq || now === undefined) show();
    else {
      learn(now);
      post();
    }
  }

  function tell(): void {
    if (timer || !open || !isPending() || said === marked) return;
    said = marked;
    open.send(JSON.stringify({ op: "read", cursor: said.cursor }));
    timer = setTimeout(() => {
      timer = undefined;
      tell();
    }, PAUSE_MS);
  }

  function enter(url: string, protocol?: string): void {
    const user = userOf(protocol);
    const wanted = `unread ${url.split("?")[0]} ${user}`;
    if (room !== wanted) forget();
    room = wanted;
    if (channel || !user) return;
    try {
      channel = new BroadcastChannel(room);
    } catch {
      return; // there are none, or they are refused, as without cookies
    }
    channel.onmessage = ({ data }) => (data === ASK ? post() : learn(data));
    post(ASK);
  }

  function leave(): void {
    channel?.close();
    channel = undefined;
  }

  function forget(): void {
    leave();
    last = marked = said = NOTHING;
    read = NaN;
    show();
  }

  return {
    get count() {
      return shown;
    },
    isRead: ({ seq }) => seq <= readUpTo(),
    markRead(place = last) {
      if (place.seq > marked.seq) marked = place;
      show();
      tell();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    join: (transports) => ({
      socket(url, protocols, { message, closed }) {
        enter(url, protocols[1]);
        const socket = transports.socket(url, protocols, {
          message(text) {
            if (open !== socket) said = NOTHING;
            open = socket;
            message(text);
            hear(JSON.parse(text));
          },
          closed,
        });
        return socket;
      },

      async get(url, token, signal) {
        const answer = await transports.get(isPending() ? `${url}&read=${marked.cursor}` : url, token, signal);
        hear(answer.body ?? {});
        return answer;
      },

      leave(isLogout) {
        (isLogout ? forget : leave)();
        transports.leave?.(isLogout);
      },
    }),
  };
}
