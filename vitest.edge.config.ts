/**
 * The tests through real nginx and Varnish, `npm run test:edge`; needs a build. Kept out of `npm test` because they
 * wait for copies to end, which takes as long as the promise that they check: 15 seconds. One file at a time, because
 * each reads as fast as the machine allows. Where nginx or Varnish is missing, its tests are skipped and counted.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { PATIENCE } from "./vitest.config.js";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: {
    include: ["test/edge/**/*.edge.test.ts"],
    pool: "forks",
    expect: PATIENCE,
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
