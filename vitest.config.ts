/**
 * The test run of `npm test`: everything but the long suites (browser, cluster, edge, openapi, and faults with what
 * else takes long). `x.test.ts` is pure and takes milliseconds; `x.redis.test.ts` starts a redis-server of its own
 * (test/redis/with-redis.ts) and gets longer limits. Limits end what hangs; a busy machine stays within them. Files
 * share processes, one after the other, because loading the product takes a second of a processor; those that need a
 * process of their own are in ALONE. Three of these keep two cores busy; of the others, more of which wait, four do.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const LONG = [
  "test/browser/**",
  "test/edge/**",
  "test/faults/**",
  "test/cluster/**",
  "test/bench/*.redis.test.ts",
  "test/bench/soak.redis.test.ts",
  "test/replay/real-year.redis.test.ts",
  "test/history/series/real-day.redis.test.ts",
  "test/jobs/notifications/open-alerts.test.ts",
  "**/*.openapi.test.ts",
];
/** Start processes, fill or limit what the process shares, or register hooks in a module that they import. */
export const ALONE = [
  "test/app/dispatch.redis.test.ts",
  "test/app/full-disk.redis.test.ts",
  "test/app/intake.redis.test.ts",
  "test/audit/planted.redis.test.ts",
  "test/cli/*.redis.test.ts",
  "test/extension/**/*.redis.test.ts",
  "test/sim/*.redis.test.ts",
  "test/stream/dead-letter*.redis.test.ts",
];
const redis = { testTimeout: 120_000, hookTimeout: 120_000 };
/** How long `expect.poll` waits at most: a busy machine may need many times as long as an idle one. */
export const PATIENCE = { poll: { timeout: 60_000 } };
const three = { maxWorkers: 3, sequence: { groupOrder: 0 } };
const four = { maxWorkers: 4, sequence: { groupOrder: 1 } };
const shared = { pool: "forks" as const, expect: PATIENCE, exclude: ["**/node_modules/**", "dist/**", ...LONG] };

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: {
    projects: [
      {
        test: {
          ...shared,
          ...four,
          name: "pure",
          include: ["test/**/*.test.ts"],
          exclude: [...shared.exclude, "**/*.redis.test.ts"],
          isolate: false,
          testTimeout: 120_000,
        },
      },
      {
        test: {
          ...shared,
          ...four,
          ...redis,
          name: "redis",
          include: ["test/**/*.redis.test.ts"],
          exclude: [...shared.exclude, ...ALONE],
          isolate: false,
        },
      },
      { test: { ...shared, ...three, ...redis, name: "alone", include: ALONE } },
    ],
  },
});
