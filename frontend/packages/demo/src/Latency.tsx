import type { ReactElement } from "react";
import type { Desk } from "./desk.ts";
import { useNewsAfterPaint } from "./hooks.ts";
import { quantile } from "./logbook.ts";

const BARS = 90;
const [WIDTH, HEIGHT] = [270, 48];

/** How long it took from an event to the frame that shows it. */
export function Latency({ desk }: { readonly desk: Desk }): ReactElement {
  useNewsAfterPaint();
  const times = desk.logbook.latencies();
  const [median, most] = [quantile(times, 0.5), quantile(times, 0.99)];
  return (
    <section className="latency" aria-labelledby="latency-title">
      <h2 id="latency-title">From event to paint</h2>
      <dl className="figures">
        <Figure name="median" ms={median} />
        <Figure name="99 %" ms={most} />
        <Figure name="slowest" ms={quantile(times, 1)} />
        <div>
          <dt>shown</dt>
          <dd id="shown">{times.length}</dd>
        </div>
      </dl>
      {times.length > 0 && <Strip times={times.slice(-BARS)} />}
      <p className="small">
        Milliseconds from the moment a service put the event on Kafka to the frame of this tab that shows it. What was
        shown is acknowledged to Doorstep.
      </p>
    </section>
  );
}

function Figure({ name, ms }: { readonly name: string; readonly ms: number | undefined }): ReactElement {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{ms === undefined ? "–" : Math.round(ms)}</dd>
    </div>
  );
}

/** A bar for each of the last notifications; the longest fills the height. */
function Strip({ times }: { readonly times: readonly number[] }): ReactElement {
  const tallest = Math.max(...times, 1);
  const width = WIDTH / BARS;
  return (
    <svg className="strip" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      {times.map((ms, index) => {
        const height = Math.max(2, (ms / tallest) * HEIGHT);
        return <rect key={index} x={index * width} y={HEIGHT - height} width={width * 0.7} height={height} />;
      })}
    </svg>
  );
}
