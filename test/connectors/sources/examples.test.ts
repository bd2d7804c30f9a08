/** The configurations that the documents of connectors show: each is read without a fault. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { faultText } from "../../../connectors/configuration/placed-faults.js";
import { CONNECTORS } from "../../../connectors/index.js";
import { readSources } from "../../../connectors/sources/configuration.js";

describe("examples in documents", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "examples-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each(["sources", "wangdian", "youzan", "oracle-ebs"])("of %s are sound configurations", async (connector) => {
    const document = await readFile(new URL(`../../../connectors/${connector}/README.md`, import.meta.url), "utf8");
    const examples = [...document.matchAll(/^```json\n(.*?)^```$/gms)].map(([, text]) => JSON.parse(text as string));
    expect(examples.length).toBeGreaterThan(0);
    const kinds = (await Promise.all(CONNECTORS.map((each) => each.sourceKinds?.() ?? []))).flat();
    for (const example of examples) {
      const path = join(folder, "sources.json");
      await writeFile(path, JSON.stringify("sources" in example ? example : { sources: [example] }));
      const { faults } = await readSources(path, { kinds, env: () => "the-secret" });
      expect(faults.map(faultText)).toEqual([]);
    }
  });
});
