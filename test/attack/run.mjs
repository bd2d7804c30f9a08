/**
 * `npm run test:attack`: every `*.attack.mjs` of this folder in turn, each in a process of its own; arguments (`--url
 * URL --token T`) are passed on. A name as first argument runs that script alone. The last line is the totals: `N
 * passed, N failed, N skipped`; before it stands a line `failed: SCRIPT: REASON` for each that failed.
 */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { fail, setUp } from "../../engine/boot/setup.mjs";
import { SKIPPED_STATUS } from "./harness.mjs";

/** Above the scripts' own limit, which ends what they have started. */
const LIMIT_MS = 150_000;
const FOLDER = fileURLToPath(new URL(".", import.meta.url));

const args = process.argv.slice(2);
const only = args[0]?.startsWith("-") === false ? args.shift() : undefined;
const scripts = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".attack.mjs") && (only === undefined || file === `${only}.attack.mjs`))
  .sort();

try {
  await setUp({ dev: false, redis: true, build: true });
} catch (thrown) {
  fail(thrown);
}
const totals = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
for (const script of scripts) {
  const child = spawn(process.execPath, [FOLDER + script, ...args], { stdio: ["ignore", "inherit", "inherit"] });
  const cut = setTimeout(() => child.kill("SIGTERM"), LIMIT_MS);
  const status = await new Promise((resolve) => child.once("exit", resolve));
  clearTimeout(cut);
  totals[status === 0 ? "passed" : status === SKIPPED_STATUS ? "skipped" : "failed"]++;
  if (status !== 0 && status !== SKIPPED_STATUS) failures.push(`test/attack/${script}: exit code ${status}`);
}
if (scripts.length === 0) {
  totals.failed++;
  failures.push(`test/attack: there is no script "${only}"`);
}
process.stdout.write("\n");
for (const failure of failures) process.stdout.write(`failed: ${failure}\n`);
process.stdout.write(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped\n`);
process.exitCode = totals.failed === 0 ? 0 : 1;
