/**
 * `npm test`: sets up what is missing, then format and lint, types, build, tests; stops at the first group that fails
 * and says which. Further arguments go to vitest (`npm test -- test/kernel`); with them there is no lint and no check
 * of types. `--suite NAME` first runs one of the long suites alone instead, against the built product
 * (vitest.NAME.config.ts). The last line is always the totals: `N passed, N failed, N skipped`; a group before the
 * tests, or a fault outside of any test, counts as one failed.
 * Before it stands a line `failed: FILE:LINE > TEST: REASON` for each that failed.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { fail, ROOT, run, SetupFault, setUp } from "./setup.mjs";

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
  for (const [name, check] of suite === undefined && vitestArgs.length === 0 ? CHECKS : []) {
    if ((await check()) !== 0) end({ passed: 0, failed: 1, skipped: 0, failures: [name] });
  }
  await setUp({ dev: true, redis: true, build: true });
  end(await test());
} catch (thrown) {
  if (thrown instanceof SetupFault) {
    end({ passed: 0, failed: 1, skipped: 0, failures: [thrown.message] });
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
    if (status !== 0 && totals.failed === 0) {
      totals.failed = 1;
      totals.failures.push(`outside of any test, with exit code ${status}`);
    }
    return totals;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Counts a file that failed without a failed test (it did not load, a hook threw) as one failed. */
function totalsOf(path) {
  if (!existsSync(path)) return { passed: 0, failed: 0, skipped: 0, failures: [] };
  const report = JSON.parse(readFileSync(path, "utf8"));
  const failures = report.testResults.flatMap((file) => {
    const name = relative(ROOT, file.name);
    const tests = file.assertionResults.filter((test) => test.status === "failed");
    if (tests.length > 0)
      return tests.map((test) => {
        const [message = ""] = test.failureMessages;
        return `${name}${lineIn(file.name, message)} > ${test.fullName}: ${firstLine(message)}`;
      });
    return file.status === "failed" ? [`${name}: ${firstLine(file.message)}`] : [];
  });
  return {
    passed: report.numPassedTests,
    failed: failures.length,
    skipped: report.numPendingTests + report.numTodoTests,
    failures,
  };
}

/** `:12`, where the test failed; empty when its own file is not in the stack. */
function lineIn(path, message) {
  const [, after] = stripVTControlCharacters(message).split(`${path}:`);
  return after === undefined ? "" : `:${Number.parseInt(after, 10)}`;
}

/** Vitest's report has a placeholder where a test ran into its time limit. */
function firstLine(message) {
  const [line] = stripVTControlCharacters(message ?? "")
    .trim()
    .split("\n", 1);
  return line.replace("Error: STACK_TRACE_ERROR", "it ran into its time limit");
}

function end({ passed, failed, skipped, failures }) {
  process.stdout.write("\n");
  for (const failure of failures) process.stdout.write(`failed: ${failure}\n`);
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  process.exit(failed === 0 ? 0 : 1);
}
