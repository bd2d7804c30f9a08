/**
 * The linters that strangers run on the OpenAPI document, `npm run test:openapi`: each comes from the registry at an
 * exact version. Kept out of `npm test` and of the development dependencies because one of them alone brings 240
 * packages.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: {
    include: ["test/openapi/**/*.openapi.test.ts"],
    pool: "forks",
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 60_000,
  },
});
