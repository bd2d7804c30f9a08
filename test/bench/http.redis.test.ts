/**
 * `shuiwei bench http` as a whole, small and short: every process starts, is asked, reports and ends. What is judged
 * are counts; how fast it is depends on the machine.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));

it("answers every order and every command of a small load, and every window shows", { timeout: 120_000 }, async () => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [CLI, "bench", "http", "--json", "--seconds", "1", "--rate", "100"],
    { encoding: "utf8" },
  );
  const report = JSON.parse(stdout.trim().split("\n").at(-1) as string);
  expect(report).toMatchObject({
    bench: "http",
    rows: [
      { case: "orders over HTTP", unit: "orders/s" },
      { case: "orders over HTTP, reply p99", unit: "ms" },
    ],
    rate: 100,
    seconds: 1,
    orders: {
      ours: { unanswered: 0, reply: { count: 100 }, behind: { count: 100 } },
      theirs: { answers: { 201: 100 }, unanswered: 0 },
    },
    commands: { answers: { accepted: 100 }, unanswered: 0, visible: { count: 100 }, unseen: 0 },
  });
  // On a busy machine the engine may answer some with 429.
  const { 201: taken = 0, 429: refused = 0 } = report.orders.ours.answers;
  expect(taken + refused).toBe(100);
  expect(taken).toBeGreaterThan(0);
});
