const waiting = new Map<unknown, () => void>();

/**
 * A frame is on the screen when the task after its animation callbacks runs. Never called while the page is hidden, so what
 * waits for a frame gives way to what the same `owner` asks for later. (Firefox has animation frames for hidden pages, too,
 * one a second and then fewer.)
 */
export function afterPaint(owner: unknown, callback: () => void): void {
  if (!waiting.size) requestAnimationFrame(drawn);
  waiting.set(owner, callback);
}

function drawn(): void {
  if (globalThis.document?.hidden) return void requestAnimationFrame(drawn);
  const shown = [...waiting.values()];
  waiting.clear();
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    for (const callback of shown) callback();
  };
  port2.postMessage(null);
}
