/** What tabs share, without a browser. Time is the test's. */

/** A browser's locks and channels, as all tabs of an origin see them. */
export function newBrowser(): { locks: never; BroadcastChannel: never } {
  const queue: (() => Promise<unknown>)[] = [];
  const channels = new Set<Channel>();
  class Channel {
    onmessage?: (event: { data: unknown }) => void;
    readonly name: string;
    constructor(name: string) {
      this.name = name;
      channels.add(this);
    }
    postMessage(data: unknown) {
      for (const other of channels) {
        if (other !== this && other.name === this.name) setTimeout(() => channels.has(other) && other.onmessage?.({ data: structuredClone(data) }), 1);
      }
    }
    close() {
      channels.delete(this);
    }
  }
  const grant = () => void queue[0]?.().then(() => (queue.shift(), grant()));
  const locks = {
    request(_: string, { signal }: { signal: AbortSignal }, held: () => Promise<unknown>) {
      const mine = () => (signal.aborted ? Promise.resolve() : held());
      if (queue.push(mine) === 1) queueMicrotask(grant);
      return Promise.resolve();
    },
  };
  return { locks: locks as never, BroadcastChannel: Channel as never };
}
