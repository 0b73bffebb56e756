/**
 * One connection for all tabs of a user: the tab that has the lock has the socket, and tells the others what comes.
 *
 * To the machine of another tab this looks like a socket of its own: it has a cursor, gets a welcome and what comes
 * after, drops what it has already, and asks the server itself (by HTTP) when the leader does not know its cursor.
 *
 * A hidden tab leads as well as any while its socket lives. Without one it may be late by a minute, as browsers slow down
 * its timers, so that a tab that is seen takes the lock from it: when it hears of that, and when nobody answers its ping.
 */

import type { AnyNotification, Connection, Layer, Socket, SocketListener, Transports } from "../types.ts";
import { userOf } from "../user.ts";

/** How many notifications a tab remembers for one that was away for a moment. */
const REMEMBERED = 200;
/** To the machine: come again, and say so. */
const RECONNECT = '{"event":"doorstep.reconnect"}';

type Locks = Pick<LockManager, "request">;
type Message = { readonly seq?: number; readonly cursor?: string };
type Page = { readonly seq?: never; readonly notifications?: readonly AnyNotification[]; readonly cursor?: string };

/**
 * What tabs say to each other: `tab` is who asks, and who is answered; the text of a question is for the server. News
 * is a notification, or, without a text, where the leader stands. An answer says nothing but texts; without any, the leader has none.
 * A hidden leader without a socket is `lost`.
 */
interface Said {
  readonly say?: "open" | "news" | "lost" | "logout";
  readonly tab?: number | undefined;
  readonly cursor?: string | undefined;
  readonly text?: string | undefined;
  readonly texts?: readonly string[] | "" | undefined;
}

/** This tab's socket: by way of the leader, until it has one itself. */
interface Own extends SocketListener {
  cursor: string;
  isWelcomed: boolean;
  take(text: string): void;
  lead(): void;
}

/** For `connect({ tabs: tabs() })`. Where a browser has no locks or no channels, every tab has a socket of its own. */
export function tabs(
  locks: Locks | undefined = globalThis.navigator?.locks,
  Channel: typeof BroadcastChannel | undefined = globalThis.BroadcastChannel,
  isSeen: () => boolean = () => !globalThis.document?.hidden,
): Layer {
  return {
    join: (wire, connection) => (locks && Channel ? share(wire, connection, locks, Channel, isSeen) : wire),
  };
}

function share(
  wire: Transports,
  { logout }: Connection,
  locks: Locks,
  Channel: typeof BroadcastChannel,
  isSeen: () => boolean,
): Transports {
  const me = Math.random();
  /** Where this tab is, or, without a channel, was. */
  let room = "";
  let channel: BroadcastChannel | undefined;
  let left = new AbortController();
  /** Ends it; while this tab leads. */
  let lease: unknown;
  /**
   * The leader's socket, once something came through it, or whether its polls are answered. While neither, the others get no
   * answer to a ping.
   */
  let wired: Socket | undefined;
  let isPolling = false;
  /** Tells the machine of the leader's socket, which ends it. */
  let depose: SocketListener["message"] | undefined;
  /** Takes the lock from whoever has it. */
  let steal: (() => unknown) | undefined;
  let own: Own | undefined;
  /** What came last, each with the cursor after it; the first may be a cursor only. */
  let log: { readonly cursor: string; readonly text: string }[] = [];

  const post = (said: Said) => channel?.postMessage(said);

  /** Leaves no channel where that is refused, as without cookies. */
  function enter(name: string): void {
    if (channel && name === room) return;
    leave();
    try {
      channel = new Channel(name);
    } catch {
      return;
    }
    room = name;
    left = new AbortController();
    const { signal } = left;
    channel.onmessage = hear;
    globalThis.addEventListener?.("pagehide", leave, { signal });
    globalThis.addEventListener?.("freeze", lost, { signal });
    const stand = (how: LockOptions): Promise<unknown> => {
      let mine: unknown;
      const lead = () => signal.aborted || new Promise((resolve) => {
        mine = lease = signal.onabort = resolve;
        own?.lead();
      });
      return locks.request(name, how, lead).catch(() => {
        if (!mine) return lead(); // where locks are refused, every tab leads
        if (mine !== lease) return; // taken by ourselves
        lease = undefined; // another tab has taken it
        depose?.(RECONNECT);
        return stand({ signal });
      });
    };
    stand({ signal });
    steal = () => lease || stand({ steal: true });
  }

  function leave(): void {
    left.abort();
    channel?.close();
    channel = undefined;
    wired = undefined;
    lease = undefined;
    isPolling = false;
    log = [];
  }

  function hear({ data: { say, tab, cursor = "", text = "", texts } }: { data: Said }): void {
    if (say === "logout") logout();
    if (say === "open") {
      if (text) wired?.send(text);
      if (wired ? !text.includes("ping") : isPolling) post(answerTo(tab, cursor));
      if (!wired) lost();
    }
    if (say === "lost" && isSeen()) steal?.();
    if (say === "news") {
      remember(cursor, text);
      if (!own?.isWelcomed || (!text && own.cursor !== cursor)) ask();
      else own.take(text || "{}"); // the leader's connection lives
    }
    if (own && tab === me) {
      own.isWelcomed = true;
      if (texts) texts.forEach(own.take);
      else own.closed(1006); // and its machine asks the server
    }
  }

  /** What came after a cursor, behind a welcome; nothing where that is not known here. */
  function answerTo(tab: number | undefined, asked: string): Said {
    const at = asked ? log.findIndex(({ cursor }) => cursor === asked) : log.length - 1;
    const cursor = log[at]?.cursor;
    const welcome = JSON.stringify({ event: "doorstep.welcome", cursor, data: { resumed: cursor === asked } });
    return { tab, texts: cursor && [welcome, ...log.slice(at + 1).map(({ text }) => text)] };
  }

  /** The leader has no socket: whoever is seen leads instead of one whose timers are late. */
  function lost(): void {
    if (lease && !isSeen()) post({ say: "lost" });
  }

  function ask(text?: string): void {
    if (own) post({ say: "open", tab: me, cursor: own.cursor, text });
  }

  /** False for what is known already. Without a text: the stream goes on from a cursor that is not known. */
  function remember(cursor: string, text: string): boolean {
    const isNew = log.every((entry) => entry.cursor !== cursor);
    if (isNew) log = text ? [...log.slice(1 - REMEMBERED), { cursor, text }] : [{ cursor, text }];
    return isNew;
  }

  /** The leader got a message: so does everybody, be it that the connection lives. */
  function relay({ seq, cursor }: Message, text: string): void {
    if (!lease) return;
    if (!seq) text = "";
    if (cursor && !remember(cursor, text) && seq) return;
    post({ say: "news", cursor: log.at(-1)?.cursor, text });
  }

  function lead(url: string, protocols: string[], { message, closed }: SocketListener): Socket {
    depose = message;
    const end = () => wired === socket && !(wired = undefined);
    const socket = wire.socket(url, protocols, {
      message(text) {
        wired = socket;
        isPolling = false;
        try {
          relay(JSON.parse(text), text);
        } catch {} // none of ours, as its machine finds, too
        message(text);
      },
      closed(code) {
        if (end()) lost();
        closed(code);
      },
    });
    return {
      send: (text) => socket.send(text),
      close() {
        end();
        socket.close();
      },
    };
  }

  function follow(url: string, protocols: string[], listener: SocketListener): Socket {
    let real: Socket | undefined;
    let isAsking = false;
    const mine: Own = {
      ...listener,
      cursor: url.split("=")[1] as string,
      isWelcomed: false,
      take(text) {
        isAsking = false;
        mine.cursor = JSON.parse(text).cursor ?? mine.cursor;
        listener.message(text);
      },
      lead() {
        own = undefined;
        if (mine.isWelcomed) listener.message(RECONNECT); // with a token of now
        else real = lead(url, protocols, listener);
      },
    };
    own = mine;
    ask();
    return {
      // A ping is a question to the leader; like an acknowledgement it goes on to the server.
      send(text) {
        if (wired) return wired.send(text);
        isAsking ||= text.includes("ping");
        ask(text);
      },
      close() {
        if (own === mine) own = undefined;
        if (isAsking) steal?.(); // nobody answered
        real?.close();
      },
    };
  }

  return {
    socket(url, protocols, listener) {
      const user = userOf(protocols[1]);
      if (user) enter(`${url.split("?")[0]} ${user}`);
      if (!user || !channel) return wire.socket(url, protocols, listener);
      return (lease ? lead : follow)(url, protocols, listener);
    },

    async get(url, token, signal) {
      const answer = await wire.get(url, token, signal).finally(() => (isPolling = false));
      if (answer.status === 200) {
        const page = (answer.body ?? {}) as Page;
        isPolling = true;
        page.notifications?.forEach((notification) => relay(notification, JSON.stringify(notification)));
        relay(page, "");
      }
      return answer;
    },

    leave(isLogout) {
      if (isLogout && room) {
        enter(room); // which a page that has stopped has left
        post({ say: "logout" });
      }
      leave();
    },
  };
}
