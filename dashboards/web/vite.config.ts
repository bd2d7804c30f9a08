/**
 * Builds the pages into dist/web: hashed files beside index.html (the wall), desk.html, phone.html and shop.html (the
 * demo's storefront), all from this server. Nothing is inlined, neither scripts nor images, so that they run under
 * `default-src 'self'`. The phone's service worker keeps its name, because browsers look for its updates there; it gets
 * the list of the files that the phone page needs offline. It takes `vite build dashboards/web`.
 */
import { createHash } from "node:crypto";
import { defineConfig, type Plugin } from "vite";

const WORKER_FILE = "phone-sw.js";
const PAGE_FILE = "phone.html";
/** Files of `public` that the page needs offline. */
const PUBLIC_FILES = ["/favicon.svg", "/icons/badge-96.png", "/icons/icon-192.png"];

/** Puts the phone page's files, and a version that changes with them, into its service worker. */
const phoneFiles: Plugin = {
  name: "phone-files",
  generateBundle: {
    order: "post",
    handler(_options, bundle) {
      const page = bundle[PAGE_FILE];
      const worker = bundle[WORKER_FILE];
      if (page?.type !== "asset" || worker?.type !== "chunk")
        throw new Error("the phone page or its worker is missing");
      if (worker.imports.length > 0) throw new Error("the service worker must be one file");
      const html = page.source.toString();
      const entries = [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, path]) => path as string);
      const files = new Set(entries);
      for (const path of files) {
        const chunk = bundle[path.slice(1)];
        if (chunk?.type !== "chunk") continue;
        for (const name of [...chunk.imports, ...chunk.dynamicImports]) files.add(`/${name}`);
        for (const name of chunk.viteMetadata?.importedCss ?? []) files.add(`/${name}`);
      }
      const version = createHash("sha256")
        .update(html)
        .update(worker.code)
        .update([...files].sort().join())
        .digest("hex");
      const listed = JSON.stringify({ version: version.slice(0, 16), files: [...files, ...PUBLIC_FILES] });
      worker.code = worker.code.replace("__PHONE_FILES__", listed);
    },
  },
};

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [phoneFiles],
  build: {
    outDir: "../../dist/web",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: {
        ...{ wall: "index.html", desk: "desk.html", phone: PAGE_FILE, shop: "shop.html" },
        "phone-sw": "phone-worker/worker.ts",
      },
      output: {
        entryFileNames: ({ name }) => (name === "phone-sw" ? WORKER_FILE : "assets/[name]-[hash].js"),
      },
    },
  },
});
