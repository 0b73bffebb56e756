// A WebSocket to Doorstep that comes back by itself, with the cursor of the last notification it got.

const NEVER_AGAIN = new Map([
  [1000, "Closed"],
  ...[1002, 1003, 1007, 1009].map((code) => [code, "The server did not understand this page"]),
  [4003, "This user may not connect"],
  [4008, "Too many tabs of this teacher are open; close one and reload"],
  [4009, "The server did not understand this page"],
]);
const SOON = new Set([1001, 1012]); // the server restarts, or wants us elsewhere
const BACKOFF_MS = { first: 250, longest: 10_000 };
const REPLAY = 100; // what a page that has just opened is told again, should the read model lag behind

/**
 * handlers:
 *   session()           -> Promise<{token, websocket_url}>, asked before each connect
 *   started()              the cursor is known: fetch the state now
 *   reset(reason)          the cursor was of no use, notifications go on after a gap: fetch the state again
 *   notification(message)  each one once, in order
 *   state(name, text)      "connecting" | "live" | "waiting" | "stopped"
 */
export class Connection {
  #handlers;
  #socket = null;
  #cursor = null;
  #failures = 0;
  #retry = 0;
  #watch = 0;
  #stopped = false;

  constructor(handlers) {
    this.#handlers = handlers;
    addEventListener("online", this.#hurry);
    this.#connect();
  }

  get cursor() {
    return this.#cursor;
  }

  /** Close for good. */
  stop(text = "Closed") {
    this.#stopped = true;
    removeEventListener("online", this.#hurry);
    this.#leave();
    this.#handlers.state("stopped", text);
  }

  #hurry = () => {
    if (this.#retry) this.#connect();
  };

  async #connect() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    this.#handlers.state("connecting", this.#cursor ? "Reconnecting" : "Connecting");
    try {
      const { token, websocket_url: url } = await this.#handlers.session();
      if (!this.#stopped) this.#open(url, token);
    } catch {
      this.#wait(this.#backoff());
    }
  }

  #open(url, token) {
    const query = this.#cursor ? `cursor=${encodeURIComponent(this.#cursor)}` : `replay=${REPLAY}`;
    const socket = new WebSocket(`${url}?${query}`, ["doorstep.v1", `bearer.${token}`]);
    socket.onmessage = (frame) => this.#heard(JSON.parse(frame.data));
    socket.onclose = ({ code }) => this.#closed(code);
    this.#socket = socket;
  }

  #heard(message) {
    this.#heardAt = performance.now();
    const control = this.#controls[message.event];
    if (message.cursor) this.#cursor = message.cursor;
    if (control) control(message.data);
    else if (!message.event.startsWith("doorstep.")) this.#handlers.notification(message);
  }

  #heardAt = 0;
  #controls = {
    "doorstep.welcome": ({ resumed, reset, ping_interval_ms: interval }) => {
      this.#failures = 0;
      this.#keepWatch(interval);
      this.#handlers.state("live", "Live");
      if (reset) this.#handlers.reset(reset);
      else if (!resumed) this.#handlers.started();
    },
    "doorstep.reset": ({ reason }) => this.#handlers.reset(reason),
    "doorstep.reconnect": ({ after_ms: delay }) => {
      this.#leave();
      this.#wait(delay);
    },
    "doorstep.token_expiring": async () => {
      const socket = this.#socket;
      const { token } = await this.#handlers.session();
      if (socket === this.#socket) this.#send({ op: "refresh", token });
    },
  };

  /** Page code cannot see the server's pings, so it asks for an answer of its own when all is quiet. */
  #keepWatch(interval) {
    clearInterval(this.#watch);
    this.#watch = setInterval(() => {
      const quiet = performance.now() - this.#heardAt;
      if (quiet > 2 * interval) {
        this.#leave();
        this.#wait(0);
      } else if (quiet > interval / 2) {
        this.#send({ op: "ping" });
      }
    }, interval / 2);
  }

  #closed(code) {
    this.#leave();
    if (NEVER_AGAIN.has(code)) this.stop(NEVER_AGAIN.get(code));
    else this.#wait(SOON.has(code) ? Math.random() * 1000 : this.#backoff());
  }

  #backoff() {
    const longest = Math.min(BACKOFF_MS.longest, BACKOFF_MS.first * 2 ** this.#failures++);
    return longest * (0.5 + Math.random() / 2);
  }

  #wait(delay) {
    if (this.#stopped) return;
    this.#handlers.state("waiting", "Connection lost, trying again");
    this.#retry = setTimeout(() => this.#connect(), delay);
  }

  /** Let go of the socket at once: a close of a dead connection can take minutes. */
  #leave() {
    clearInterval(this.#watch);
    clearTimeout(this.#retry);
    this.#retry = 0;
    if (!this.#socket) return;
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  #send(operation) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(operation));
  }
}
