import { svelte } from "@sveltejs/vite-plugin-svelte";
import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

const doorstep = process.env["DOORSTEP_URL"] ?? "http://127.0.0.1:8000";
const services = process.env["SERVICES_URL"] ?? "http://127.0.0.1:8080";

/** One page each: `npx vite` in this folder, beside `DOORSTEP_GATEWAY__ALLOWED_ORIGINS='*' make demo`, then `/plain/`. */
export default defineConfig({
  plugins: [vue(), svelte()],
  build: { rollupOptions: { input: ["plain/index.html", "vue/index.html", "svelte/index.html"] } },
  server: {
    proxy: {
      "/v1/ws": { target: doorstep, ws: true },
      "/v1/notifications": doorstep,
      "/v1": services,
      "/demo": services,
    },
  },
});
