/**
 * `shuiwei contract check` as its user sees it: the table, the JSON line, and how it ends.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { ContractTally, MAX_ROWS } from "../../../connectors/wms/contract-report.js";
import { command } from "../../../engine/cli/contract.js";
import { chainIdFromNumber } from "../../../engine/kernel/chain-id.js";
import { runCommand } from "../../cli/run-command.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "contract-command-"));
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => vi.restoreAllMocks());

async function check(
  content: string | undefined,
  options: { json?: boolean; contract?: string; operands?: string[] } = {},
) {
  const file = join(folder, "payloads");
  if (content !== undefined) await writeFile(file, content);
  let out = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    out += String(text);
    return true;
  });
  const settings = { json: options.json ?? false, contract: options.contract ?? "wms-inbound" };
  const ended = await runCommand(command, settings, options.operands ?? ["check", file]).then(
    () => "well",
    (thrown) => `${thrown.code}: ${thrown.message}`,
  );
  vi.restoreAllMocks();
  return { out, ended };
}

const order = (i: number, more: object = {}) => ({
  orderNo: chainIdFromNumber("WB", Date.UTC(2026, 5, 17, 16), i),
  placedAt: "2026-06-17T16:00:00.000Z",
  paidAt: "2026-06-17T16:00:02.500Z",
  lines: [{ lineNo: 1, sku: "TEA-0042", warehouse: "main", units: 2 }],
  addressState: "absent",
  ...more,
});
const ndjson = (...payloads: unknown[]) => payloads.map((each) => `${JSON.stringify(each)}\n`).join("");

describe("a file of payloads", () => {
  it("that match ends with status 0", async () => {
    const { out, ended } = await check(ndjson(order(1), order(2)));
    expect(ended).toBe("well");
    expect(out).toMatch(/^wms-inbound: 2 payloads in [\d,]+ bytes, all fit\n$/);
  });

  it("that do not match is reported by field, the most costly first, with its cost", async () => {
    const detail = "详".repeat(562);
    const line = { lineNo: 1, sku: "A", warehouse: "main", units: 1, remark: "x" };
    const content =
      ndjson(order(1, { buyer_full_address_detail: detail }), order(2)) +
      '{"orderNo":\n' +
      ndjson(order(3, { buyer_full_address_detail: detail, lines: [line, { ...line, units: "1" }] }));
    const { out, ended } = await check(content);
    expect(ended).toBe("contract_findings: 2 of 3 payloads do not fit; 1 cannot be read");
    const rows = out.split("\n").map((row) => row.split(/ {2,}/).map((cell) => cell.trim()));
    expect(rows[2]).toEqual(["FIELD", "KIND", "PAYLOADS", "FIELDS", "BYTES", "LONGEST", "LINE", "CONTRACT"]);
    expect(rows[3]?.slice(0, 7)).toEqual(["buyer_full_address_detail", "redundant", "2", "2", "3,434", "562", "1"]);
    expect(rows[4]?.slice(0, 7)).toEqual(["lines[].remark", "redundant", "1", "2", "26", "1", "4"]);
    expect(rows.map(([field, kind]) => `${kind} ${field}`)).toContain("oversized buyer_full_address_detail");
    expect(rows.map(([field, kind]) => `${kind} ${field}`)).toContain("mistyped lines[].units");
    expect(out).toMatch(/\n3,460 bytes need not be sent: \d+ % of all, 1,153 a payload\n/);
    expect(out).toContain("line 3: is not JSON");
    expect(out).not.toContain("详");
  });

  it("is reported as one line of JSON, too", async () => {
    const { out } = await check(JSON.stringify([order(1, { extra: 1 })]), { json: true });
    expect(JSON.parse(out)).toMatchObject({
      contract: "wms-inbound",
      payloads: 1,
      withFindings: 1,
      unreadable: 0,
      costBytes: '"extra":1,'.length,
      findings: [{ path: "extra", kind: "redundant", payloads: 1, fields: 1, bytes: 10, line: 1 }],
      unreadableLines: [],
    });
  });

  it("is checked against a contract from a file", async () => {
    const own = join(folder, "own.json");
    await writeFile(own, '{"type":"object","required":["a"]}');
    expect((await check('{"b":1}', { contract: own })).ended).toBe("contract_findings: 1 of 1 payload do not fit");
  });

  it("may be hostile: deeply nested, or with terminal control characters", async () => {
    const deep = `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
    const { out, ended } = await check(`${deep}\n${JSON.stringify(order(1, { "\u001b[2J": 1 }))}\n\u001b[31m\n`);
    expect(ended).toMatch(/^contract_findings/);
    expect(out).toContain("line 1: is nested too deeply");
    expect(out).not.toContain("\u001b");
  });
});

describe("a wrong command line", () => {
  it.each([
    ["no action", { operands: [] }, "bad_input: ACTION: must be check"],
    ["another action", { operands: ["mend", "x"] }, "bad_input: ACTION: must be check"],
    ["no file", { operands: ["check"] }, "bad_input: FILE"],
    ["two files", { operands: ["check", "a", "b"] }, "bad_input: FILE"],
    ["a file that is not there", { operands: ["check", "nowhere.ndjson"] }, "bad_input: nowhere.ndjson"],
    ["an unknown contract", { contract: "wms-outbound" }, "(wms-inbound)"],
  ])("is rejected: %s", async (_, options, message) => {
    const { out, ended } = await check("{}", options);
    expect(ended).toContain(message);
    expect(out).toBe("");
  });

  it("is rejected when there is nothing to check", async () => {
    expect((await check("[]")).ended).toMatch(/bad_input: .*has no payload/);
  });
});

describe("a report", () => {
  it("has a limited length, and counts what it does not list", () => {
    const tally = new ContractTally("x");
    for (let i = 0; i < MAX_ROWS + 7; i++)
      tally.add({ line: i, bytes: 1 }, [
        { path: `phone${i}`, kind: "redundant", bytes: 3, characters: undefined, rule: "" },
      ]);
    for (let line = 0; line < 30; line++) tally.addUnreadable({ line, bytes: 1, fault: "x" });
    const report = tally.report();
    expect(report.findings).toHaveLength(MAX_ROWS);
    expect(report).toMatchObject({ otherFields: 7, unreadable: 30, costBytes: (MAX_ROWS + 7) * 3 });
    expect(report.unreadableLines).toHaveLength(20);
  });
});
