import fc from "fast-check";
import { expect, test } from "vitest";

import { initial, nextDue, step, type Input, type State } from "../src/machine.ts";
import { PARAMETERS, RUNS, SEED } from "./support/runs.ts";

/** Mostly of the right kind, so that it gets far. */
const odd = (right: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ arbitrary: right, weight: 3 }, { arbitrary: fc.constantFrom(undefined, null, 7, -1e9, "x", "", {}, [], [null], true), weight: 1 });
const record = (of: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> => odd(fc.record(of));

const event = odd(fc.constantFrom(...["welcome", "reset", "reconnect", "token_expiring", "pong"].map((name) => `doorstep.${name}`)));
const cursor = odd(fc.constantFrom("1-a", "2-a", "2-b"));
const notification = record({ event: odd(fc.constant("e")), id: odd(fc.constantFrom("1", "2")), seq: odd(fc.nat(3)), cursor });
const data = record({ resumed: odd(fc.boolean()), after_ms: odd(fc.constantFrom(0, 500, "500", 1e12)) });
const said = fc.oneof(record({ event, cursor, data }), notification);
const page = record({ notifications: odd(fc.array(notification, { maxLength: 3 })), cursor, reset: odd(fc.boolean()) });
const body = fc.oneof(page, record({ code: odd(fc.constant("no")), detail: odd(fc.constant("No.")) }));
const retryAfterMs = fc.constantFrom(undefined, 0, NaN, -1_000, 1_000, Infinity);
const answer = fc.record({ status: fc.constantFrom(200, 200, 401, 422, 429, 503), retryAfterMs, body });
const code = fc.constantFrom(1006, 1012, 4001, 4008);

/** What a server may say next, in whatever way it is asked. */
const odds = fc.record({ isClosed: fc.boolean(), said, answer, code });

test(`whatever a server says, the client goes on, and shows text (seed ${SEED}, ${RUNS} runs)`, () => {
  fc.assert(
    fc.property(fc.array(odds, { maxLength: 15 }), (told) => {
      let state = initial();
      let now = 1;
      const feed = (input: Input): void => {
        [state] = step(state, input, { now, random: 0.5 });
        check(state, now);
      };
      for (const { isClosed, said, answer, code } of told) {
        const { main: id, load } = state;
        if (load) feed({ type: "done", id: load, result: undefined });
        const isPaused = !id && (state.phase === "waiting" || state.phase === "polling");
        if (isPaused) now = nextDue(state);
        if (!id) feed({ type: isPaused ? "tick" : "start" });
        else if (state.phase === "token") feed({ type: "done", id, result: "token" });
        else if (state.phase === "asking" || state.phase === "polling") feed({ type: "done", id, result: answer });
        else if (isClosed) feed({ type: "closed", id, code });
        else feed({ type: "message", id, message: (said ?? {}) as object });
      }
    }),
    PARAMETERS,
  );
}, 600_000);

function check({ phase, status, due, cursor }: State, now: number): void {
  const at = nextDue({ due } as State);
  if (phase !== "blocked" && !(at < now + 300_001)) throw new Error(`${phase} waits until ${at}`);
  if ("because" in status) expect([typeof status.because.code, typeof status.because.detail]).toEqual(["string", "string"]);
  if (status.state === "waiting" && !(status.retryInMs >= 0 && status.retryInMs < 300_001)) throw new Error(`waits for ${status.retryInMs} ms`);
  if (/undefined|null/.test(`${cursor}`)) throw new Error(`asks for ${cursor}`);
}
