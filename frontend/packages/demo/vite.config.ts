import { defineConfig } from "vite";

/** The built files are committed to demo/page: names without hashes, in one directory, and the same on every machine. */
const config: ReturnType<typeof defineConfig> = defineConfig({
  base: "./",
  build: {
    assetsDir: "",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: { entryFileNames: "app.js", chunkFileNames: "[name].js", assetFileNames: "app[extname]" },
    },
  },
});
export default config;
