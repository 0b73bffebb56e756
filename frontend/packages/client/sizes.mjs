// Holds the size budgets: what a page loads for an entry, with all chunks that it needs, gzipped.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";

const BUDGET_BYTES = { index: 3584, "tabs/index": 1229, "state/index": 1024, "upload/index": 1229, "react/index": 819 };

/** The files that an entry imports, itself first. */
function closure(file, seen = new Set()) {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const [, imported] of readFileSync(file, "utf8").matchAll(/(?:from|import)\s*["'](\.[^"']+)["']/g)) {
    closure(join(dirname(file), imported), seen);
  }
  return seen;
}

const tooBig = Object.entries(BUDGET_BYTES).filter(([entry, budget]) => {
  const files = [...closure(`dist/${entry}.js`)];
  const size = gzipSync(Buffer.concat(files.map((file) => readFileSync(file))), { level: 9 }).length;
  console.log(`${entry.padEnd(14)} ${String(size).padStart(5)} of ${budget} bytes gzipped`);
  return size > budget;
});
process.exitCode = tooBig.length;
