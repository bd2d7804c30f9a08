/**
 * The fault tests and what else takes minutes, `npm run test:faults`, kept out of `npm test`; needs a build. First the
 * simulations at length, the real year and random tests at full length (test/length.ts), two files at a time. Then, one
 * at a time, those that need the machine for themselves: the fault tests, because each has redis-server and several
 * product processes of its own, kills and freezes them under load, and measures pauses; the benchmarks in short; the
 * soak.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { PATIENCE } from "./vitest.config.js";

const shared = { pool: "forks" as const, expect: PATIENCE, testTimeout: 300_000, hookTimeout: 120_000 };
// The simulation with 150 shops, and a fault at every fourth call of every script; SEEDS=1000 tries every call. The
// comparison of the ledger with decide.ts with five seeds, forwarding and schedules with 200.
const env = {
  LONG_TESTS: "1",
  SEEDS: process.env["SEEDS"] ?? "150",
  LEDGER_SEEDS: process.env["LEDGER_SEEDS"] ?? "5",
  FORWARDING_SEEDS: process.env["FORWARDING_SEEDS"] ?? "200",
};
/** Works within its own process and Redis. */
const SIMULATED_WEEK = "test/faults/dead-receiver.faults.test.ts";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: {
    projects: [
      {
        test: {
          ...shared,
          name: "long",
          env,
          sequence: { groupOrder: 0 },
          maxWorkers: 2,
          include: [
            SIMULATED_WEEK,
            "test/sim/*.redis.test.ts",
            "test/sim/divergence.test.ts",
            "test/sim/notifications.test.ts",
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
            "test/publication/publication-faults.test.ts",
            "test/reconciliation/comparison/late-source.redis.test.ts",
          ],
        },
      },
      {
        test: {
          ...shared,
          name: "alone",
          env,
          sequence: { groupOrder: 1 },
          maxWorkers: 1,
          include: ["test/faults/**/*.faults.test.ts", "test/bench/*.redis.test.ts"],
          exclude: [SIMULATED_WEEK],
        },
      },
    ],
  },
});
