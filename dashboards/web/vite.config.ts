/**
 * Builds the page into dist/web: hashed files beside one index.html, all from this server. Nothing is inlined,
 * neither scripts nor images, so that the page runs under `default-src 'self'`. It takes `vite build dashboards/web`.
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
  },
});
