/**
 * Builds the pages into dist/web: hashed files beside index.html (the wall) and desk.html, all from this server.
 * Nothing is inlined, neither scripts nor images, so that they run under `default-src 'self'`. It takes
 * `vite build dashboards/web`.
 */
import { defineConfig } from "vite";

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../../dist/web",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: { wall: "index.html", desk: "desk.html" } },
  },
});
