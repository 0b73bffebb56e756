/** How a browser (or a Node that has both) reaches the server. */

import type { Transports } from "../types.ts";

export const browser: Transports = {
  socket(url, protocols, { message, closed }) {
    const socket = new WebSocket(url, protocols);
    socket.onmessage = ({ data }) => message(data);
    socket.onclose = ({ code }) => closed(code);
    return socket;
  },

  async get(url, token, signal) {
    const response = await fetch(url, { headers: { Authorization: `Bearer ${token}` }, signal });
    const retryAfterMs = 1000 * Number(response.headers.get("Retry-After"));
    return { status: response.status, retryAfterMs, body: await response.json().catch(() => {}) };
  },
};
