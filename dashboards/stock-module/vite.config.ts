/** Builds `shuiwei-stock.js`: one ES module without dependencies, for a shop's own pages. */
import { defineConfig } from "vite";

export default defineConfig({
  build: {
    outDir: "../../dist/web",
    emptyOutDir: false,
    target: "es2022",
    lib: { entry: "show-stock.ts", formats: ["es"], fileName: () => "shuiwei-stock.js" },
    // Vite leaves blanks in modules for other bundlers; this one is loaded as it is.
    rolldownOptions: { output: { minify: true, comments: false } },
  },
});
