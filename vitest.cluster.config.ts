/**
 * The tests that need a Redis on a Redis Cluster instead: three masters and three replicas. Two files at a time, each
 * worker with a Cluster of its own; files share a process as in the ordinary run. After them, one at a time, those that
 * kill masters, move slots and ask Sentinels, on servers of their own.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { CLUSTER_WORKERS } from "./test/redis/cluster-setup.js";
import { ALONE, PATIENCE } from "./vitest.config.js";

/** Files of the ordinary run that a Cluster changes nothing about, each with the reason. */
const LEFT_OUT = [
  // Starts private servers, which never are a Cluster's.
  "test/redis/embedded.redis.test.ts",
  // Start the command line, which starts a private server.
  "test/cli/commands.redis.test.ts",
  "test/cli/dead-letters.redis.test.ts",
  "test/replay/replay.redis.test.ts",
  "test/replay/real-year.redis.test.ts",
  "test/cli/audit.redis.test.ts",
  "test/bench/soak.redis.test.ts",
  // Start private servers of their own, and other stores beside them.
  "test/bench/**",
  // Takes replicas and newest writes from private servers of its own.
  "test/outbox/losses.redis.test.ts",
  // Cuts and kills private servers of its own.
  "test/stream/follower-trials.redis.test.ts",
  // Kills the one Redis that it has; on a Cluster that is test/cluster/failover.cluster.test.ts.
  "test/connectors/http/outage.redis.test.ts",
  // Fills the one Redis that it has up to its limit, and kills it.
  "test/app/intake.redis.test.ts",
  // One day of real sales, and a rush of one job: what they store is tried on a Cluster by other files.
  "test/history/series/real-day.redis.test.ts",
  "test/jobs/notifications/rush.redis.test.ts",
  // Run against a simulated Redis, and compare it with one server.
  "test/sim/faults.redis.test.ts",
  "test/sim/forwarding.redis.test.ts",
];

const shared = {
  exclude: ["**/node_modules/**", "dist/**", "test/browser/**", ...LEFT_OUT],
  globalSetup: ["test/redis/cluster-setup.ts"],
  pool: "forks" as const,
  expect: PATIENCE,
  testTimeout: 120_000,
  hookTimeout: 120_000,
};
/** In one group: after a group Vitest may give the same number to two workers at once. */
const two = { maxWorkers: CLUSTER_WORKERS, sequence: { groupOrder: 0 } };

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: {
    projects: [
      {
        test: {
          ...shared,
          ...two,
          name: "redis",
          include: ["test/**/*.redis.test.ts"],
          exclude: [...shared.exclude, ...ALONE],
          isolate: false,
        },
      },
      { test: { ...shared, ...two, name: "alone", include: ALONE } },
      {
        test: {
          ...shared,
          name: "cluster",
          include: ["test/cluster/**/*.cluster.test.ts"],
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
