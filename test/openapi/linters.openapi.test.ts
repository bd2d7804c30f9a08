/**
 * The OpenAPI document before the tools of those who use it: two linters with their recommended rules, neither an
 * error nor a warning, and the types that a client's generator makes of it, under this repository's own compiler
 * settings.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { apiDocument } from "./document.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const TSC = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");

const REDOCLY = "@redocly/cli@2.77.0";
const SPECTRAL = "@stoplight/spectral-cli@6.16.3";
/** The generator reads types with the compiler's older interface. */
const GENERATOR = ["openapi-typescript@7.13.0", "typescript@5.9.3"];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "shuiwei-openapi-"));
  await writeFile(join(folder, "openapi.json"), JSON.stringify(await apiDocument(), null, 2));
  await writeFile(join(folder, "spectral.yaml"), 'extends: ["spectral:oas"]\n');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Run {
  status: number;
  stdout: string;
  stderr: string;
}

function run(command: string, args: readonly string[]): Promise<Run> {
  // The tools neither report home nor look for a newer version of themselves.
  const env = { ...process.env, REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" };
  return new Promise((resolve) => {
    execFile(command, args, { cwd: folder, env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      const status = error ? (typeof error.code === "number" ? error.code : 1) : 0;
      resolve({ status, stdout, stderr });
    });
  });
}

/** Runs a tool out of packages of the registry. */
const tool = (packages: readonly string[], ...command: string[]): Promise<Run> =>
  run("npx", ["--yes", ...packages.flatMap((name) => ["-p", name]), ...command]);

it("is valid without a warning by Redocly's recommended rules", async () => {
  const { stdout, stderr } = await tool(
    [REDOCLY],
    "redocly",
    "lint",
    "openapi.json",
    "--extends=recommended",
    "--format=json",
  );
  const found = stdout.slice(stdout.indexOf("{"));
  expect(found, stderr).not.toBe("");
  const { totals, problems } = JSON.parse(found);
  expect(problems).toEqual([]);
  expect(totals).toMatchObject({ errors: 0, warnings: 0 });
});

it("is valid without a warning by Spectral's rules for OpenAPI", async () => {
  const { status, stdout, stderr } = await tool(
    [SPECTRAL],
    "spectral",
    "lint",
    "openapi.json",
    "--ruleset=spectral.yaml",
    "--fail-severity=hint",
  );
  expect(stdout + stderr).toContain("No results");
  expect(status).toBe(0);
});

it("gives client types that compile under this repository's settings", async () => {
  const made = await tool(GENERATOR, "openapi-typescript", "openapi.json", "--output", "openapi.d.ts");
  expect(made.status, made.stderr).toBe(0);
  await writeFile(
    join(folder, "client.mts"),
    'import type { operations } from "./openapi.js";\n' +
      'export type Answer = operations["placeOrder"]["responses"][201]["content"]["application/json"];\n' +
      "export const outcome = (answer: Answer): string => answer.outcome;\n",
  );
  await writeFile(
    join(folder, "tsconfig.json"),
    JSON.stringify({
      extends: join(ROOT, "tsconfig.json"),
      compilerOptions: { noEmit: true, skipLibCheck: false, types: [], rootDir: folder },
      include: ["*.d.ts", "*.mts"],
    }),
  );
  const { status, stdout } = await run(process.execPath, [TSC, "--project", "tsconfig.json"]);
  expect(stdout).toBe("");
  expect(status).toBe(0);
});
