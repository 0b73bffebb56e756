// Holds the size budgets: what an entry adds to a page that bundles and minifies it, gzipped.
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

const BUDGET_BYTES = { index: 3584, "tabs/index": 1382, "receipts/index": 512, "unread/index": 819, "state/index": 1024, "upload/index": 1229, "react/index": 819 };

let isTooBig = false;
for (const [entry, budget] of Object.entries(BUDGET_BYTES)) {
  const bundle = await rolldown({ input: `dist/${entry}.js`, external: ["react"] });
  const { output } = await bundle.generate({ format: "esm", minify: true });
  const size = gzipSync(output[0].code, { level: 9 }).length;
  console.log(`${entry.padEnd(14)} ${String(size).padStart(5)} of ${budget} bytes gzipped`);
  isTooBig ||= size > budget;
}
process.exitCode = Number(isTooBig);
