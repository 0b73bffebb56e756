/** How often a property is tried, and from where: DOORSTEP_TEST_SEED repeats what a run has printed. */
export const RUNS: number = Number(process.env["DOORSTEP_TEST_RUNS"] ?? 100_000);
export const SEED: number = Number(process.env["DOORSTEP_TEST_SEED"] ?? Date.now() & 0x7fffffff);
export const PARAMETERS: { readonly numRuns: number; readonly seed: number } = { numRuns: RUNS, seed: SEED };
