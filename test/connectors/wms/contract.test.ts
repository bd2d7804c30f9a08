/**
 * The check of payloads against a contract: what each kind of finding is, its place and what it costs;
 * and that the contract `wms-inbound` itself limits everything that it accepts.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Contract, compileContract, contractNames, loadContract } from "../../../connectors/wms/contract.js";
import { CHAIN_ID_PATTERN, chainId } from "../../../engine/kernel/chain-id.js";

const PLACED_MS = Date.UTC(2026, 5, 17, 16);
const ORDER = {
  orderNo: chainId("WB", PLACED_MS, "1"),
  placedAt: "2026-06-17T16:00:00.000Z",
  paidAt: "2026-06-17T16:00:02.500Z",
  lines: [{ lineNo: 1, sku: "TEA-0042", warehouse: "main", units: 2 }],
  receiver: { name: "王小明", phone: "13800001111" },
  addressState: "resolved",
  address: { province: "330000", city: "330100", district: "330106", houseNumber: "文三路123号" },
};

let contract: Contract;
beforeAll(async () => {
  contract = await loadContract("wms-inbound");
});
const kindsIn = (payload: unknown) => contract.check(payload).map(({ kind, path }) => `${kind} ${path}`);
const without = (field: string) => Object.fromEntries(Object.entries(ORDER).filter(([name]) => name !== field));

describe("a payload that fits", () => {
  it.each([
    ["with codes", ORDER],
    ["without the buyer", { ...without("address"), receiver: undefined, addressState: "absent" }],
    [
      "with an address that has no codes",
      { ...without("address"), addressState: "unresolved", detailRef: "orders/1.json" },
    ],
    ["in a city without districts", { ...ORDER, address: { province: "440000", city: "441900", houseNumber: "1号" } }],
    ["where there is only a province", { ...ORDER, address: { province: "810000", houseNumber: "1号" } }],
  ])("has no findings: %s", (_, payload) => expect(contract.check(JSON.parse(JSON.stringify(payload)))).toEqual([]));
});

describe("a payload that does not fit", () => {
  it("has the incident's field: redundant, with all its bytes, and oversized", () => {
    const detail = "浙江省杭州市西湖区文三路".repeat(50).slice(0, 562);
    expect(contract.check({ ...ORDER, buyer_full_address_detail: detail })).toEqual([
      {
        path: "buyer_full_address_detail",
        kind: "redundant",
        // "buyer_full_address_detail":"…", with three bytes a character
        bytes: 27 + 1 + (2 + 562 * 3) + 1,
        characters: 562,
        rule: expect.any(String),
      },
      {
        path: "buyer_full_address_detail",
        kind: "oversized",
        bytes: 0,
        characters: 562,
        rule: expect.stringContaining("80"),
      },
    ]);
  });

  it.each([
    ["a missing field", without("paidAt"), "missing paidAt"],
    [
      "a missing field of a line",
      { ...ORDER, lines: [{ lineNo: 1, sku: "A", units: 1 }] },
      "missing lines[0].warehouse",
    ],
    ["a text for a number", { ...ORDER, lines: [{ ...ORDER.lines[0], units: "2" }] }, "mistyped lines[0].units"],
    ["half a unit", { ...ORDER, lines: [{ ...ORDER.lines[0], units: 1.5 }] }, "mistyped lines[0].units"],
    ["null", { ...ORDER, receiver: null }, "mistyped receiver"],
    ["a list", [ORDER], "mistyped "],
    ["a long name", { ...ORDER, receiver: { name: "长".repeat(51) } }, "oversized receiver.name"],
    ["too many lines", { ...ORDER, lines: Array(101).fill(ORDER.lines[0]) }, "oversized lines"],
    [
      "a number that is too great",
      { ...ORDER, lines: [{ ...ORDER.lines[0], lineNo: 101 }] },
      "oversized lines[0].lineNo",
    ],
    ["a field in a field", { ...ORDER, receiver: { name: "王", nick: "x" } }, "redundant receiver.nick"],
    ["an odd field", { ...ORDER, "a b/c~d\u001b": 1 }, 'redundant "a b/c~d\\u001b"'],
    ["an id that is none", { ...ORDER, orderNo: "618" }, "invalid orderNo"],
    ["a time that is none", { ...ORDER, paidAt: "2026-06-31T16:00:00Z" }, "invalid paidAt"],
    ["a time of another zone", { ...ORDER, paidAt: "2026-06-18T00:00:00+08:00" }, "oversized paidAt,invalid paidAt"],
    ["a code that is none", { ...ORDER, address: { ...ORDER.address, city: "杭州" } }, "invalid address.city"],
    [
      "a district without its city",
      { ...ORDER, address: { province: "330000", district: "330106", houseNumber: "1号" } },
      "missing address.city",
    ],
    ["codes that are declared present", without("address"), "missing address"],
    ["codes that are declared absent", { ...ORDER, addressState: "absent" }, "redundant address"],
    [
      "an unresolved address that is nowhere",
      { ...without("address"), addressState: "unresolved" },
      "missing detailRef",
    ],
    ["an unknown state", { ...ORDER, addressState: "guessed" }, "invalid addressState"],
  ])("is reported: %s", (_, payload, expected) => expect(kindsIn(payload).join()).toBe(expected));

  it("is reported with the bytes above a limit", () => {
    const [name] = contract.check({ ...ORDER, receiver: { name: "长".repeat(53) } });
    expect(name).toMatchObject({ kind: "oversized", bytes: 9, characters: 53 });
    const line = { lineNo: 1, sku: "A", warehouse: "main", units: 1 };
    const [lines] = contract.check({ ...ORDER, lines: Array(103).fill(line) });
    expect(lines).toMatchObject({ kind: "oversized", bytes: 3 * (JSON.stringify(line).length + 1) });
  });

  it("is reported with every long text inside a redundant field", () => {
    const payload = { ...ORDER, buyer: { notes: ["kurz", "长".repeat(90)], name: "长".repeat(80) } };
    expect(kindsIn(payload)).toEqual(["redundant buyer", "oversized buyer.notes[1]"]);
  });
});

describe("wms-inbound", () => {
  it("identifies orders by the chain id, and limits every text, list and object", async () => {
    const path = new URL("../../../connectors/wms/contracts/wms-inbound.schema.json", import.meta.url);
    const schema = JSON.parse(await readFile(path, "utf8"));
    expect(schema.properties.orderNo.pattern).toBe(CHAIN_ID_PATTERN);
    const unbounded: string[] = [];
    const visit = (part: unknown, at: string): void => {
      if (typeof part !== "object" || part === null) return;
      const { type, maxLength, maxItems, maximum, additionalProperties } = part as Record<string, unknown>;
      if (type === "string" && maxLength === undefined) unbounded.push(at);
      if (type === "array" && maxItems === undefined) unbounded.push(at);
      if (type === "integer" && maximum === undefined) unbounded.push(at);
      if (type === "object" && additionalProperties !== false) unbounded.push(at);
      for (const [name, inner] of Object.entries(part)) visit(inner, `${at}.${name}`);
    };
    visit(schema, "$");
    expect(unbounded).toEqual([]);
    expect(contract.longestText).toBe(80);
  });
});

describe("a contract's file", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "contract-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };

  it("can be a shop's own", async () => {
    const schema = {
      type: "object",
      properties: { a: { $ref: "#/$defs/a" } },
      $defs: { a: { type: "string" } },
      additionalProperties: false,
    };
    const own = await loadContract(await file("own.json", `\ufeff${JSON.stringify(schema)}`));
    expect(own.longestText).toBeUndefined();
    expect(own.check({ a: 1, b: "x".repeat(1_000) }).map(({ kind, path }) => `${kind} ${path}`)).toEqual([
      "redundant b",
      "mistyped a",
    ]);
  });

  it("can be recursive, and allow unknown fields", () => {
    const circle = compileContract(
      { $ref: "#/$defs/a", $defs: { a: { properties: { a: { $ref: "#/$defs/a" } } } } },
      "circle",
    );
    expect(circle.check({ a: { a: {}, b: 2 } })).toEqual([]);
  });

  it("is named in the error when it does not exist, with the built-in ones", async () => {
    expect(await contractNames()).toEqual(["wms-inbound"]);
    await expect(loadContract("wms-inbuond")).rejects.toThrow(/wms-inbuond: .*\(wms-inbound\)/);
  });

  it.each([
    ["no JSON", "{", "is not JSON"],
    ["no object", "[]", "must be an object"],
    ["a misspelt keyword", '{"maxLenght": 3}', "maxLenght"],
    ["a pattern that is none", '{"pattern": "("}', "is not a valid JSON Schema"],
    ["a reference to elsewhere", '{"$ref": "https://example.com/x.json"}', "example.com"],
  ])("is refused with %s", async (_, text, message) => {
    await expect(loadContract(await file("bad.json", text))).rejects.toMatchObject({
      code: "bad_input",
      message: expect.stringContaining(message),
    });
  });
});
