/** The module as it is built: one small file that needs nothing else. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";
import { expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../../../dashboards/stock-module", import.meta.url));
const MOST_BYTES = 3_072;

it("is one file without imports, of at most 3 KiB in gzip", async () => {
  const result = await build({ root: ROOT, logLevel: "error", build: { write: false } });
  const outputs = [result].flat().flatMap((each) => ("output" in each ? each.output : []));
  expect(outputs.map(({ fileName }) => fileName)).toEqual(["shuiwei-stock.js"]);
  const [module] = outputs;
  const code = module?.type === "chunk" ? module.code : "";
  const bytes = gzipSync(code, { level: 9 }).length;
  console.log(`shuiwei-stock.js: ${code.length} bytes, ${bytes} in gzip`);
  expect(bytes).toBeLessThanOrEqual(MOST_BYTES);
  expect(code).not.toMatch(/\bimport\b/);
  expect(code).toMatch(/export\s*\{\s*\w+ as showStock\s*\}/);
});

it("has types where the package names them", () => {
  const { exports, files } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8"));
  const { types, default: module } = exports["./stock"];
  expect(files).toContain(types.slice(2));
  expect(module).toBe("./dist/web/shuiwei-stock.js");
  expect(readFileSync(new URL(`../../../${types}`, import.meta.url), "utf8")).toContain("function showStock(");
});
