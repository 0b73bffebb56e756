/** What tabs share, without a browser. Time is the test's. */

/** A browser's locks and channels, as all tabs of an origin see them. */
export function newBrowser(): { locks: never; BroadcastChannel: never } {
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
  return { locks: newLocks() as never, BroadcastChannel: Channel as never };
}

interface Wish {
  readonly held: () => unknown;
  readonly done: (value?: unknown) => void;
  readonly refuse: (why: DOMException) => void;
}

/** One lock: whoever comes first has it, until that is over or somebody steals it. */
function newLocks() {
  const queue: Wish[] = [];
  let holder: Wish | undefined;
  const end = () => new DOMException("", "AbortError");

  async function grant(wish: Wish | undefined): Promise<void> {
    holder = wish;
    await wish?.held();
    if (holder !== wish) return;
    holder = undefined;
    wish?.done();
    if (queue.length) void grant(queue.shift());
  }

  async function request(_: string, { signal, steal }: LockOptions, held: () => unknown): Promise<unknown> {
    await new Promise((done) => setTimeout(done, 2)); // it is another process that grants locks
    if (signal?.aborted) throw end();
    return new Promise((done, refuse) => {
      const wish = { held, done, refuse };
      signal?.addEventListener("abort", () => queue.includes(wish) && (queue.splice(queue.indexOf(wish), 1), refuse(end())));
      if (steal) holder?.refuse(end());
      if (steal || !holder) void grant(wish);
      else queue.push(wish);
    });
  }
  return { request };
}
