/**
 * One connection for all tabs of a user: the tab that has the lock has the socket, and tells the others what comes.
 *
 * To the machine of another tab this looks like a socket of its own: it has a cursor, gets a welcome and what comes
 * after, drops what it has already, and asks the server itself (by HTTP) when the leader does not know its cursor.
 */

import type { AnyNotification, Connection, Layer, Socket, SocketListener, Transports } from "../types.ts";
import { userOf } from "../user.ts";

/** How many notifications a tab remembers for one that was away for a moment. */
const REMEMBERED = 200;

type Locks = Pick<LockManager, "request">;
type Message = { readonly seq?: number; readonly cursor?: string };
type Page = { readonly seq?: never; readonly notifications?: readonly AnyNotification[]; readonly cursor?: string };

/**
 * What tabs say to each other: `tab` is who asks, and who is answered; the text of a question is for the server. News
 * is a notification, or, without a text, where the leader stands. An answer says nothing but texts; without any, the leader has none.
 */
interface Said {
  readonly say?: "open" | "news" | "logout";
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
): Layer {
  return {
    join: (wire, connection) => (locks && Channel ? share(wire, locks, Channel, connection) : wire),
  };
}

function share(wire: Transports, locks: Locks, Channel: typeof BroadcastChannel, { logout }: Connection): Transports {
  const me = Math.random();
  /** Where this tab is, or, without a channel, was. */
  let room = "";
  let channel: BroadcastChannel | undefined;
  let left = new AbortController();
  let isLeader = false;
  /**
   * The leader's socket, once something came through it, or whether its polls are answered. While neither, the others get no
   * answer to a ping.
   */
  let wired: Socket | undefined;
  let isPolling = false;
  /** The other tab that pinged the server last, where nothing has come since. */
  let asking: number | undefined;
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
    const lead = () => new Promise((resolve) => {
      signal.onabort = resolve;
      isLeader = true;
      own?.lead();
    });
    locks.request(name, { signal }, lead).catch(() => signal.aborted || lead()); // where locks are refused, every tab leads
  }

  function leave(): void {
    left.abort();
    channel?.close();
    channel = undefined;
    wired = undefined;
    isLeader = isPolling = false;
    log = [];
  }

  function hear({ data: { say, tab, cursor = "", text = "", texts } }: { data: Said }): void {
    if (say === "logout") logout();
    if (say === "open") {
      if (text) wired?.send(text);
      else if (asking === tab) wired?.close(); // nobody answered its ping, and this tab may be hidden, and not ask
      if (wired && text.includes("ping")) asking = tab;
      else if (wired || isPolling) post(answerTo(tab, cursor));
    }
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
    if (!isLeader) return;
    if (!seq) text = "";
    if (cursor && !remember(cursor, text) && seq) return;
    post({ say: "news", cursor: log.at(-1)?.cursor, text });
  }

  function lead(url: string, protocols: string[], { message, closed }: SocketListener): Socket {
    const mine: Socket = {
      send: (text) => socket.send(text),
      close() {
        socket.close();
        end(1006); // which its machine hears of unless it has dropped this socket itself
      },
    };
    const end = (code: number) => {
      if (wired === mine) wired = undefined;
      closed(code);
    };
    const socket = wire.socket(url, protocols, {
      message(text) {
        wired = mine;
        isPolling = false;
        asking = 0;
        try {
          relay(JSON.parse(text), text);
        } catch {} // none of ours, as its machine finds, too
        message(text);
      },
      closed: end,
    });
    return mine;
  }

  function follow(url: string, protocols: string[], listener: SocketListener): Socket {
    let real: Socket | undefined;
    const mine: Own = {
      ...listener,
      cursor: url.split("=")[1] as string,
      isWelcomed: false,
      take(text) {
        mine.cursor = JSON.parse(text).cursor ?? mine.cursor;
        listener.message(text);
      },
      lead() {
        own = undefined;
        if (mine.isWelcomed) listener.message('{"event":"doorstep.reconnect"}'); // with a token of now
        else real = lead(url, protocols, listener);
      },
    };
    own = mine;
    ask();
    return {
      // A ping is a question to the leader; like an acknowledgement it goes on to the server.
      send: (text) => (wired ? wired.send(text) : ask(text)),
      close() {
        if (own === mine) own = undefined;
        real?.close();
      },
    };
  }

  return {
    socket(url, protocols, listener) {
      const user = userOf(protocols[1]);
      if (user) enter(`${url.split("?")[0]} ${user}`);
      if (!user || !channel) return wire.socket(url, protocols, listener);
      return (isLeader ? lead : follow)(url, protocols, listener);
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
