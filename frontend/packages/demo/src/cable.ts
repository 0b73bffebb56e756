/** The network of this tab, which can be cut. What is cut is what the page uses, so all that follows is real. */

import type { Layer, Socket, SocketListener, Transports } from "@doorstep/client";

/** `cut`: connections break, and new ones fail. `silent`: nothing comes or goes any more, and nobody is told. */
export type CableState = "whole" | "cut" | "silent";

export interface Cable extends Layer {
  readonly state: CableState;
  set(state: CableState): void;
  /** Called after each change; returns how to end that. */
  subscribe(listener: () => void): () => void;
  /** What an answer has to pass: rejects while the cable is cut, and waits for `signal` while it is silent. */
  pass<T>(request: () => Promise<T>, signal: AbortSignal): Promise<T>;
}

/** A cable that is whole. */
export function createCable(): Cable {
  const listeners = new Set<() => void>();
  const open = new Map<Socket, SocketListener>();
  let state: CableState = "whole";

  async function pass<T>(request: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (state === "cut") throw new TypeError("The network is cut.");
    if (state === "silent") await aborted(signal);
    const answer = await request();
    if (state !== "whole") return pass(request, signal);
    return answer;
  }

  function plug(wire: Transports, url: string, protocols: string[], listener: SocketListener): Socket {
    if (state === "cut") throw new TypeError("The network is cut.");
    if (state === "silent") return { send: () => {}, close: () => {} };
    const isHeard = (): boolean => state === "whole" && open.has(socket);
    const socket = wire.socket(url, protocols, {
      message: (text) => void (isHeard() && listener.message(text)),
      closed: (code) => void (isHeard() && open.delete(socket) && listener.closed(code)),
    });
    open.set(socket, listener);
    return {
      send: (text) => void (isHeard() && socket.send(text)),
      close() {
        open.delete(socket);
        socket.close();
      },
    };
  }

  return {
    get state() {
      return state;
    },
    set(next) {
      state = next;
      if (next === "cut") {
        for (const [socket, { closed }] of [...open]) {
          open.delete(socket);
          socket.close();
          closed(1006);
        }
      }
      for (const listener of [...listeners]) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    pass,
    join: (wire) => ({
      ...wire,
      socket: (url, protocols, listener) => plug(wire, url, protocols, listener),
      get: (url, token, signal) => pass(() => wire.get(url, token, signal), signal),
    }),
  };
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}
