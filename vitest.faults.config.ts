/**
 * The fault tests, `npm run test:faults`: one file at a time, because each has redis-server and several product
 * processes of its own, kills and freezes them under load, and measures pauses. With the simulations at length, the
 * soak, the real year, random tests at full length (test/length.ts) and the benchmarks in short. Kept out of `npm test`
 * because they take minutes and need a build.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: {
    include: [
      "test/faults/**/*.faults.test.ts",
      "test/sim/*.redis.test.ts",
      "test/sim/divergence.test.ts",
      "test/sim/notifications.test.ts",
      "test/bench/*.redis.test.ts",
      "test/bench/soak.redis.test.ts",
      "test/replay/*.redis.test.ts",
      "test/audit/audit.redis.test.ts",
      "test/connectors/csv/reader.test.ts",
      "test/connectors/http/fuzz.redis.test.ts",
      "test/history/archive.redis.test.ts",
      "test/history/series/real-day.redis.test.ts",
      "test/jobs/depletion/job.test.ts",
      "test/jobs/notifications/open-alerts.test.ts",
      "test/outbox/emit-bounds.redis.test.ts",
      "test/outbox/losses.redis.test.ts",
      "test/reconciliation/comparison/late-source.redis.test.ts",
    ],
    // The simulation with 250 shops, and a fault at every fourth call of every script; SEEDS=1000 tries every call. The
    // comparison of the ledger with decide.ts with ten seeds, forwarding and schedules with 400.
    env: {
      LONG_TESTS: "1",
      SEEDS: process.env["SEEDS"] ?? "250",
      LEDGER_SEEDS: process.env["LEDGER_SEEDS"] ?? "10",
      FORWARDING_SEEDS: process.env["FORWARDING_SEEDS"] ?? "400",
    },
    pool: "forks",
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 120_000,
  },
});
