/** The measurement of comparisons, small: it finds what was planted and nothing else. Its speed is not judged. */
import { expect, it } from "vitest";
import { measureCompare } from "../../bench/reconciliation/compare.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();

it("compares every row of three sources while the ledger goes on", { timeout: 120_000 }, async () => {
  const signal = new AbortController().signal;
  const result = await measureCompare(redis.connect(), { skus: 6_000, locations: 2 }, { runs: 1, signal });
  expect(result.rowsOfEach).toBe(12_000);
  expect(result.rssMost).toBeGreaterThanOrEqual(result.rssBefore);
});
