/**
 * The tests through real nginx and Varnish, `npm run test:edge`; needs a build. Kept out of `npm test` because they
 * wait for copies to end, which takes as long as the promise that they check: 15 seconds. Two files that mostly wait
 * run at the same time; those that measure run alone, because each reads as fast as the machine allows. Where nginx or
 * Varnish is missing, its tests are skipped and counted.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { PATIENCE } from "./vitest.config.js";

const MEASURING = ["test/edge/body-age.edge.test.ts", "test/edge/cold-reads.edge.test.ts"];
const shared = { pool: "forks" as const, expect: PATIENCE, testTimeout: 120_000, hookTimeout: 120_000 };

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: {
    projects: [
      {
        test: {
          ...shared,
          name: "waiting",
          include: ["test/edge/**/*.edge.test.ts"],
          exclude: MEASURING,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: { ...shared, name: "measuring", include: MEASURING, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
