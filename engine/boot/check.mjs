/**
 * `npm test`: sets up what is missing, then format and lint, types, build, tests; stops at the first group that fails
 * and says which. Further arguments go to vitest (`npm test -- test/kernel`). `--suite NAME` first runs one of the long
 * suites alone instead, against the built product (vitest.NAME.config.ts). The last line is always the totals:
 * `N passed, N failed, N skipped`; a group before the tests, or a fault outside of any test, counts as one failed.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fail, ROOT, run, SetupFault, say, setUp } from "./setup.mjs";

const suite = process.argv[2] === "--suite" ? (process.argv[3] ?? "") : undefined;
const vitestArgs = process.argv.slice(suite === undefined ? 2 : 4);
const configs = ["tsconfig.json", "dashboards/web/tsconfig.json"].filter((path) => existsSync(join(ROOT, path)));

const CHECKS = [
  ["format and lint", () => tool("@biomejs/biome/bin/biome", ["check", "--error-on-warnings"])],
  ...configs.map((path) => [`types (${path})`, () => tool("typescript/bin/tsc", ["--noEmit", "--project", path])]),
];

try {
  if (suite !== undefined && !existsSync(join(ROOT, configOf(suite))))
    throw new SetupFault(`there is no suite "${suite}": ${configOf(suite)} is missing`);
  await setUp({ dev: true, redis: true, build: false });
  for (const [name, check] of suite === undefined ? CHECKS : []) {
    if ((await check()) !== 0) {
      say(`${name}: failed`);
      end({ passed: 0, failed: 1, skipped: 0 });
    }
  }
  await setUp({ dev: true, redis: true, build: true });
  end(await test());
} catch (thrown) {
  if (thrown instanceof SetupFault) {
    say(thrown.message);
    end({ passed: 0, failed: 1, skipped: 0 });
  }
  fail(thrown);
}

function configOf(name) {
  return `vitest.${name}.config.ts`;
}

function tool(script, args) {
  return run(process.execPath, [join(ROOT, "node_modules", script), ...args], {
    stdio: ["ignore", "inherit", "inherit"],
  });
}

async function test() {
  const folder = mkdtempSync(join(tmpdir(), "shuiwei-check-"));
  const report = join(folder, "report.json");
  try {
    const status = await tool("vitest/vitest.mjs", [
      "run",
      ...(suite === undefined ? [] : ["--config", configOf(suite)]),
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${report}`,
      ...vitestArgs,
    ]);
    const totals = totalsOf(report);
    if (status !== 0 && totals.failed === 0) totals.failed = 1;
    return totals;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Counts a file that failed without a failed test (it did not load, a hook threw) as one failed. */
function totalsOf(path) {
  if (!existsSync(path)) return { passed: 0, failed: 0, skipped: 0 };
  const report = JSON.parse(readFileSync(path, "utf8"));
  const broken = report.testResults.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"),
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

function end({ passed, failed, skipped }) {
  process.stdout.write(`\n${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  process.exit(failed === 0 ? 0 : 1);
}
