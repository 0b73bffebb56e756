import fc from "fast-check";
import { expect, test } from "vitest";

import { PARAMETERS, RUNS, SEED } from "./support/runs.ts";
import { WEIGHTS, World } from "./world.ts";

const kind = fc.oneof(...WEIGHTS.map(([name, weight]) => ({ arbitrary: fc.constant(name), weight })));
const happening = fc.tuple(kind, fc.nat(999), fc.nat(999));

test(`whatever happens, each notification comes once and in order, or a reset (seed ${SEED}, ${RUNS} runs)`, () => {
  fc.assert(
    fc.property(fc.array(happening, { maxLength: 120, size: "max" }), (happenings) => {
      const world = new World();
      world.feed({ type: "start" });
      for (const it of happenings) world.happen(it);
      world.recover();
      expect(world.isDone).toBe(true);
    }),
    PARAMETERS,
  );
}, 600_000);
