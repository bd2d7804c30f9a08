/** The configuration of sources: every fault at once, each with its place, and what a sound file means. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Type } from "typebox";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { faultText } from "../../../connectors/configuration/placed-faults.js";
import { secretText } from "../../../connectors/configuration/secret-text.js";
import { defineSourceKind } from "../../../connectors/source.js";
import { loadSources, readSources } from "../../../connectors/sources/configuration.js";
import { fileKind } from "../../../connectors/sources/file-kind.js";
import { isEngineError } from "./engine-error.js";

const TILL = defineSourceKind({
  name: "till",
  about: "a till",
  connection: Type.Object({ url: Type.String(), key: secretText("its key") }, { additionalProperties: false }),
  pulls: ["snapshot"],
  gives: "whole",
  fields: { snapshot: { sku: "code", units: "pieces" } },
  perSecond: 2,
  open: async () => ({ pull: async function* () {} }),
});
const LOOKUP = { kinds: [TILL, fileKind], env: (name: string) => (name === "KEY" ? "the-secret" : undefined) };

const sound = () => ({
  name: "shop",
  kind: "till",
  measure: "on_hand",
  connection: { url: "http://till", key: { env: "KEY" } },
  snapshot: { schedule: { every: "15m" }, fields: { location: "branch" } },
});

describe("the configuration of sources", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "configuration-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const written = async (content: unknown): Promise<string> => {
    const path = join(folder, "sources.json");
    await writeFile(path, typeof content === "string" ? content : JSON.stringify(content, null, 2));
    return path;
  };
  const faultsOf = async (content: unknown): Promise<string[]> => {
    const path = await written(content);
    const { faults } = await readSources(path, LOOKUP);
    return faults.map((fault) => faultText(fault).replace(`${path}:`, ""));
  };

  it("has defaults of the kind, and the texts of secrets", async () => {
    const loaded = await loadSources(await written({ sources: [sound()] }), LOOKUP);
    expect(loaded.sources).toMatchObject([
      {
        name: "shop",
        kind: { name: "till" },
        settings: { url: "http://till", key: "the-secret" },
        pulls: {
          snapshot: {
            schedule: { everyMs: 900_000 },
            fields: { sku: "code", units: "pieces", location: "branch" },
            timeFormat: "iso",
          },
        },
        otherLocations: "same",
        perSecond: 2,
        freshnessMs: 2_700_000,
      },
    ]);
    expect(loaded.secrets).toEqual(["the-secret"]);
    expect(loaded.conflicts.display).toEqual({ policy: "ask" });
  });

  it("reports every fault with its line, its pointer and what was expected", async () => {
    const text = `{
  "sources": [
    {
      "name": "Shop 1",
      "kind": "till",
      "measure": "stock",
      "connection": {
        "url": 7,
        "key": "written here"
      },
      "snapshot": {
        "schedule": { "every": "often" },
        "feilds": {}
      }
    },
    {
      "name": "two",
      "kind": "telex",
      "measure": "on_hand",
      "connection": {}
    }
  ],
  "conflicts": {
    "display": { "policy": "rank" },
    "on_hand": { "policy": "rank", "order": ["two", "three", "two"] }
  }
}`;
    expect(await faultsOf(text)).toEqual([
      '4 /sources/0/name is "Shop 1", and must be 1 to 32 lower-case letters, digits and hyphens',
      '6 /sources/0/measure is "stock", and must be one of on_hand, sellable, display',
      "8 /sources/0/connection/url is 7, and must be a text",
      '9 /sources/0/connection/key must be its key: {"env": "NAME"} or {"file": "PATH"}',
      '12 /sources/0/snapshot/schedule/every is "often", and must be a duration such as "30s", "15m" or "24h"',
      "13 /sources/0/snapshot/feilds is no field here; the fields are schedule, fields, timeFormat, reach",
      '18 /sources/1/kind is "telex", and must be one of till, file',
      '24 /conflicts/display/order is missing; "rank" needs the order of sources',
      '25 /conflicts/on_hand/order/1 is "three", and no source has this name',
      '25 /conflicts/on_hand/order/2 is "two" a second time',
    ]);
  });

  it.each([
    ["a name of the engine", { name: "ledger" }, /\/name is "ledger", which the engine uses/],
    ["nothing to pull", { snapshot: undefined }, /needs "snapshot", "movements" or both/],
    ["what the kind does not give", { movements: { schedule: { every: "1m" } } }, /\/movements is nothing that/],
    ["no location", { snapshot: { schedule: { every: "15m" } } }, /\/snapshot\/fields\/location is missing; without/],
    ["two places for the location", { location: "main" }, /\/snapshot\/fields\/location excludes "location"/],
    ["a name that is too long", { locations: { A: "x".repeat(65) } }, /\/locations\/A is /],
    ["units without a field", { units: { box: 12 } }, /\/snapshot\/fields\/unit is missing; "units" needs/],
    [
      "a field of units without units",
      { snapshot: { schedule: { every: "15m" }, fields: { location: "branch", unit: "per" } } },
      /\/snapshot\/fields\/unit needs "units"/,
    ],
    ["half a unit", { units: { box: 0.5 } }, /\/units\/box is 0.5, and must be pieces in this unit/],
    [
      "an unknown form of times",
      { snapshot: { schedule: { every: "15m" }, fields: { location: "branch" }, timeFormat: "DD.MM." } },
      /\/timeFormat has "D"/,
    ],
    [
      "a secret that is not set",
      { connection: { url: "http://till", key: { env: "OTHER" } } },
      /\/connection\/key the variable OTHER is not set/,
    ],
    [
      "a secret in place of a variable, and does not show it",
      { connection: { url: "http://till", key: { env: "hunter-2" } } },
      /^\d+ \/sources\/0\/connection\/key\/env must be the name of a variable of the environment$/,
    ],
    [
      "an instant in a field that is not named",
      { kind: "file", connection: { folder: ".", asOf: "field" } },
      /^\d+ \/sources\/0\/snapshot\/fields\/time is missing$/m,
    ],
    ["a time limit beyond what a timer takes", { timeout: "30d" }, /\/timeout is "30d", and must be at most 1h/],
    ["two schedules", { snapshot: { schedule: { every: "1m", daily: ["18:00"] } } }, /schedule must be either/],
  ])("refuses %s", async (_, change, expected) => {
    expect((await faultsOf({ sources: [{ ...sound(), ...change }] })).join("\n")).toMatch(expected);
  });

  it("refuses two sources of one name, and a name twice in an object", async () => {
    expect(await faultsOf({ sources: [sound(), sound()] })).toEqual([
      expect.stringContaining('/sources/1/name is "shop" as that of another source'),
    ]);
    const text = JSON.stringify({ sources: [sound()] }).replace('"name"', '"name":"x","name"');
    expect(await faultsOf(text)).toEqual(["1 /sources/0/name is there twice; each name may come once in an object"]);
  });

  it.each(['{\n"sources": [\noops\n', '{\n"sources": [1\n,],\n', '{"a":\n1,\n}\n', '[1,\n"a\\n"\n2]'])(
    "names the line of a file that is no JSON: %j",
    async (text) => {
      await expect(readSources(await written(text), LOOKUP)).rejects.toSatisfy(
        isEngineError("bad_input", /sources\.json:3: is not JSON/),
      );
    },
  );

  it("names a file that cannot be read", async () => {
    await expect(readSources(join(folder, "missing.json"), LOOKUP)).rejects.toSatisfy(
      isEngineError("bad_input", /cannot be read \(ENOENT\)/),
    );
  });

  it("is not used at all when it has a fault, and no fault shows a secret", async () => {
    const path = await written({ sources: [sound(), { ...sound(), name: "b", measure: "x" }] });
    const error = await loadSources(path, LOOKUP).catch((thrown: unknown) => thrown as Error);
    expect(String(error)).toMatch(/sources\.json:\d+ \/sources\/1\/measure: is "x"/);
    expect(String(error)).not.toContain("the-secret");
  });
});
