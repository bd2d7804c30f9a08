/**
 * `shuiwei bench edge` as a whole, with one counted round: every server starts, is read from and ends, and every answer
 * is 200. How fast it is depends on the machine.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { hasNginx } from "../../bench/load/nginx.js";

const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));

it("reads stock from the origin and, where there is nginx, from the edge, beside its peers", {
  timeout: 240_000,
}, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [CLI, "bench", "edge", "--json", "--runs", "1"], {
    encoding: "utf8",
  });
  const report = JSON.parse(stdout.trim().split("\n").at(-1) as string);
  expect(report).toMatchObject({ bench: "edge", runs: 1, connections: 64, bodyBytes: expect.any(Number) });
  const cases = new Set(report.rows.map((row: { case: string }) => row.case));
  const sizes = ["the same body", "a reply of the same size"];
  const origin = sizes.flatMap((size) => [`origin, one SKU, ${size}`, `origin, 10,000 SKUs in turn, ${size}`]);
  const edge = hasNginx() ? sizes.map((size) => `edge, one SKU, ${size}`) : [];
  expect([...cases]).toEqual([...origin, ...edge]);
  for (const { ours, theirs, ratio } of report.rows) expect(Math.min(ours, theirs, ratio)).toBeGreaterThan(0);
});
