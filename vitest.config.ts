/**
 * The test run of `npm test`: everything but the long suites (browser, cluster, openapi, and faults with what else
 * takes long). `x.test.ts` is pure and takes milliseconds; `x.redis.test.ts` starts a redis-server of its own
 * (test/redis/with-redis.ts) and gets longer limits. Limits end what hangs; a busy machine stays within them. Each file
 * with a Redis runs in a process of its own; the pure ones share them. Three at a time keep two cores busy, for many
 * wait.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const LONG = [
  "test/browser/**",
  "test/faults/**",
  "test/cluster/**",
  "test/bench/*.redis.test.ts",
  "test/bench/soak.redis.test.ts",
  "test/replay/real-year.redis.test.ts",
  "**/*.openapi.test.ts",
];
const shared = { pool: "forks" as const, exclude: ["**/node_modules/**", "dist/**", ...LONG] };

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: {
    maxWorkers: 3,
    projects: [
      {
        test: {
          ...shared,
          name: "pure",
          include: ["test/**/*.test.ts"],
          exclude: [...shared.exclude, "**/*.redis.test.ts"],
          // Starting a process and loading the product anew for each would take longer than most of them.
          isolate: false,
          testTimeout: 30_000,
        },
      },
      {
        test: {
          ...shared,
          name: "redis",
          include: ["test/**/*.redis.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
