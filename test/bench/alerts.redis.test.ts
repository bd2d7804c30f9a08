/**
 * `shuiwei bench alerts` as a whole, small and short: each order that makes an alert fire has a push that the sandbox
 * of the push service has verified and decrypted. What is judged are counts; how fast it is depends on the machine.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));

it("has a push for each alert of a small load", { timeout: 120_000 }, async () => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [CLI, "bench", "alerts", "--json", "--seconds", "2", "--rate", "50"],
    { encoding: "utf8" },
  );
  const report = JSON.parse(stdout.trim().split("\n").at(-1) as string);
  expect(report).toMatchObject({ bench: "alerts", rate: 50, seconds: 2, withoutPush: 0, refusedPushes: 0 });
  expect(report.alerts).toBeGreaterThan(0);
  expect(report.push.count).toBe(report.alerts);
  expect(report.orders.unanswered).toBe(0);
});
