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

/** What a browser has for it; where one is missing, every tab has a socket of its own. */
export interface Browser {
  readonly locks?: Locks | undefined;
  readonly BroadcastChannel?: typeof BroadcastChannel | undefined;
}

type Locks = Pick<LockManager, "request">;
type Message = { readonly seq?: number; readonly cursor?: string };
type Page = { readonly seq?: never; readonly notifications?: readonly AnyNotification[]; readonly cursor?: string };

/**
 * What tabs say to each other: `tab` is who asks, and who is answered; the text of a question is for the server. News
 * is a notification, or, without a text, where the leader stands.
 */
interface Said {
  readonly say: "open" | "answer" | "news" | "logout";
  readonly tab?: number | undefined;
  readonly cursor?: string | undefined;
  readonly text?: string | undefined;
  readonly texts?: readonly (string | undefined)[] | "" | undefined;
}

/** This tab's socket: by way of the leader, until it has one itself. */
interface Own extends SocketListener {
  cursor: string;
  isWelcomed: boolean;
  take(text: string | undefined): void;
  lead(): void;
}

/** For `connect({ tabs: tabs() })`. */
export function tabs({ locks, BroadcastChannel }: Browser = browser()): Layer {
  return {
    join: (wire, connection) => (locks && BroadcastChannel ? share(wire, locks, BroadcastChannel, connection) : wire),
  };
}

function browser(): Browser {
  return { locks: globalThis.navigator?.locks, BroadcastChannel: globalThis.BroadcastChannel };
}

function share(wire: Transports, locks: Locks, Channel: typeof BroadcastChannel, { logout }: Connection): Transports {
  const me = Math.random();
  let room = "";
  let channel: BroadcastChannel | undefined;
  let left = new AbortController();
  let isLeader = false;
  /** Whether the leader's connection brings what comes. While it does not, the others get no answer to a ping. */
  let isUp = false;
  /** The leader's socket, once something came through it. */
  let wired: Socket | undefined;
  let own: Own | undefined;
  /** What came last, each with the cursor after it; the first may be a cursor only. */
  let log: { readonly cursor: string; readonly text?: string }[] = [];

  const post = (said: Said) => channel?.postMessage(said);

  function enter(name: string): void {
    if (name === room) return;
    leave();
    room = name;
    left = new AbortController();
    const { signal } = left;
    channel = new Channel(name);
    channel.onmessage = ({ data }) => hear(data);
    globalThis.addEventListener?.("pagehide", leave, { signal });
    const lead = () => new Promise((resolve) => {
      signal.addEventListener("abort", resolve);
      isLeader = true;
      own?.lead();
    });
    locks.request(name, { signal }, lead).catch(() => {});
  }

  function leave(): void {
    left.abort();
    channel?.close();
    room = "";
    isLeader = isUp = false;
    log = [];
  }

  function hear(said: Said): void {
    const { say, cursor = "", text } = said;
    if (say === "logout") logout();
    if (say === "open" && isUp) {
      post(answerTo(said));
      if (text) wired?.send(text);
    }
    if (say === "news") remember(cursor, text);
    if (!own) return;
    if (say === "news") {
      if (!own.isWelcomed || (!text && own.cursor !== cursor)) ask(own);
      else if (text) own.take(text);
    }
    if (say === "answer" && said.tab === me) {
      own.isWelcomed = true;
      if (said.texts) said.texts.forEach(own.take);
      else own.closed(1006); // and its machine asks the server
    }
  }

  /** What came after a cursor, behind a welcome; nothing where that is not known here. */
  function answerTo({ tab, cursor: asked }: Said): Said {
    const at = asked ? log.findIndex(({ cursor }) => cursor === asked) : log.length - 1;
    const cursor = log[at]?.cursor;
    const welcome = JSON.stringify({ event: "doorstep.welcome", cursor, data: { resumed: cursor === asked } });
    return { say: "answer", tab, texts: cursor && [welcome, ...log.slice(at + 1).map(({ text }) => text)] };
  }

  function ask({ cursor }: Own, text?: string): void {
    post({ say: "open", tab: me, cursor, text });
  }

  /** False for what is known already. Without a text: the stream goes on from a cursor that is not known. */
  function remember(cursor: string, text = ""): boolean {
    const isNew = log.every((entry) => entry.cursor !== cursor);
    if (isNew) log = text ? [...log.slice(1 - REMEMBERED), { cursor, text }] : [{ cursor }];
    return isNew;
  }

  /** The leader got a message: so does everybody. */
  function relay({ seq, cursor }: Message, text: string): void {
    if (!isLeader || !cursor) return;
    const news = seq ? text : "";
    if (!remember(cursor, news) && seq) return;
    isUp = true;
    post({ say: "news", cursor, text: news });
  }

  function lead(url: string, protocols: string[], { message, closed }: SocketListener): Socket {
    let isWelcomed = false;
    const end = () => {
      if (isWelcomed) isUp = false;
    };
    const socket = wire.socket(url, protocols, {
      message(text) {
        isWelcomed = true;
        wired = socket;
        relay(JSON.parse(text), text);
        message(text);
      },
      closed(code) {
        end();
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
    const mine: Own = {
      ...listener,
      cursor: url.split("=")[1] ?? "",
      isWelcomed: false,
      take(text = "") {
        mine.cursor = JSON.parse(text).cursor ?? mine.cursor;
        listener.message(text);
      },
      lead() {
        own = undefined;
        if (mine.isWelcomed) listener.message('{"event":"doorstep.reconnect"}');
        else real = lead(url, protocols, listener);
      },
    };
    own = mine;
    ask(mine);
    return {
      // A ping is a question to the leader; like an acknowledgement it goes on to the server.
      send: (text) => (real ? real.send(text) : ask(mine, text)),
      close() {
        if (own === mine) own = undefined;
        real?.close();
      },
    };
  }

  return {
    socket(url, protocols, listener) {
      const user = userOf(protocols[1] ?? "");
      if (!user) return wire.socket(url, protocols, listener);
      enter(`${url.split("?")[0]} ${user}`);
      return (isLeader ? lead : follow)(url, protocols, listener);
    },

    async get(url, token, signal) {
      const answer = await wire.get(url, token, signal).catch((error: unknown) => {
        if (!signal.aborted) isUp = false;
        throw error;
      });
      if (answer.status !== 200) isUp = false;
      else relayAnswer(answer.body as Page);
      return answer;
    },

    leave(isLogout) {
      if (isLogout) post({ say: "logout" });
      leave();
    },
  };

  function relayAnswer(page: Page | null): void {
    page?.notifications?.forEach((notification) => relay(notification, JSON.stringify(notification)));
    if (page) relay(page, "");
  }
}
