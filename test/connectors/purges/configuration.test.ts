/** The configuration file of CDNs: what it gives, and that every fault is reported with its place and no secret. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Type } from "typebox";
import { afterAll, beforeAll, expect, it } from "vitest";
import { secretText } from "../../../connectors/configuration/secret-text.js";
import { definePurgerKind } from "../../../connectors/purger.js";
import { assertPurgersOpen, loadCdns } from "../../../connectors/purges/configuration.js";
import { tagOf } from "../../../connectors/purges/tag.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import { messageOf } from "../../../engine/kernel/errors.js";

let closed = 0;
const kind = definePurgerKind({
  name: "edge",
  connection: Type.Object({ zone: Type.String(), token: secretText("a token") }, { additionalProperties: false }),
  open({ connection: { zone } }) {
    if (zone === "nowhere") throw new Error("no zone has this name");
    return {
      limits: { batch: 10, perSecond: 1 },
      purge: async () => ({ outcome: "purged" }),
      close: () => void closed++,
    };
  },
});
const SECRET = "a-secret-of-a-vendor";
const lookup = { kinds: [kind], env: (name: string) => ({ TOKEN: SECRET })[name] };
const cdn = { name: "main", vendor: "edge", connection: { zone: "shop", token: { env: "TOKEN" } } };
const file = (...cdns: unknown[]) => ({ publicUrl: "https://stock.shop.example/", cdns });

let path: string;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "shuiwei-cdn-"));
  path = join(folder, "cdn.json");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function load(json: unknown) {
  await writeFile(path, typeof json === "string" ? json : JSON.stringify(json, undefined, 1));
  return loadCdns(path, lookup);
}
const faultOf = (json: unknown): Promise<string> => load(json).then(() => "", messageOf);

it("gives the CDNs with the texts of their secrets", async () => {
  const configuration = await load(file(cdn, { ...cdn, name: "other" }));
  expect(configuration).toEqual({
    publicUrl: "https://stock.shop.example",
    cdns: ["main", "other"].map((name) => ({ name, vendor: "edge", settings: { zone: "shop", token: SECRET } })),
    secrets: [SECRET, SECRET],
  });
  await assertPurgersOpen(path, configuration, lookup, systemClock);
  expect(closed).toBe(2);
});

it("reports every fault with its line and pointer, and no secret", async () => {
  const text = await faultOf({
    publicUrl: "stock.shop.example",
    cdns: [
      { ...cdn, vendor: "akamai" },
      { ...cdn, connection: { zone: "shop", token: { env: "MISSING" } } },
      { ...cdn, name: "Main", connection: { zone: 7, token: SECRET } },
      { ...cdn, extra: 1 },
    ],
  });
  for (const part of [
    ":2 /publicUrl",
    '/cdns/0/vendor is "akamai", and must be one of edge',
    "/cdns/1/connection/token the variable MISSING is not set",
    "/cdns/2/connection/zone is 7",
    "/cdns/2/connection/token must be a token",
    "/cdns/2/name",
    "/cdns/3/extra is no field here",
    '/cdns/1/name is "main" as that of another CDN',
  ])
    expect(text).toContain(part);
  expect(text).not.toContain(SECRET);
});

it.each([
  "",
  "[",
  "null",
  "[]",
  "{}",
  '{"publicUrl":"https://a","cdns":{}}',
  '{"publicUrl":"https://a","cdns":[null]}',
])("refuses %s with a reason", async (text) => {
  expect(await faultOf(text)).toContain(path);
});

it("reports what only the vendor's code finds, with the CDN", async () => {
  const configuration = await load(file({ ...cdn, connection: { ...cdn.connection, zone: "nowhere" } }));
  await expect(assertPurgersOpen(path, configuration, lookup, systemClock)).rejects.toThrow(
    "CDN main: no zone has this name",
  );
});

it("makes tags of 22 characters that headers have, of any SKU", () => {
  const tags = ["TEA-01", "", "茶 01,\u0000", "x".repeat(500)].map(tagOf);
  for (const tag of tags) expect(tag).toMatch(/^stock-[\w-]{16}$/);
  expect(new Set(tags).size).toBe(4);
  expect(tagOf("TEA-01")).toBe(tags[0]);
});
