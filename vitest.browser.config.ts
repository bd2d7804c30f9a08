/**
 * The browser tests, `npm run test:browser`: one at a time, against the built product in a headless Chromium. Kept
 * out of `npm test` because they need a browser and a build. Passes when there is no such file.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { PATIENCE } from "./vitest.config.js";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: {
    include: ["test/browser/**/*.browser.test.ts"],
    passWithNoTests: true,
    pool: "forks",
    expect: PATIENCE,
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
