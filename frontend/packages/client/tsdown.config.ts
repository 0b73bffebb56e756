import { defineConfig } from "tsdown";

/** One file an entry, and shared chunks; `sizes.mjs` holds what each costs a page. */
export default defineConfig({
  entry: ["src/index.ts", "src/{tabs,receipts,unread,state,upload,react,testing,devtools}/index.ts"],
  outDir: "dist",
  format: "esm",
  platform: "browser",
  target: "es2022",
  dts: { oxc: true },
  minify: true,
  fixedExtension: false,
  deps: { neverBundle: ["react"] },
});
