/**
 * How much of a bulk body is read in one turn of the event loop, and how much at all. Turns are counted, not their
 * time.
 */
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { BULK_LIMIT, type CommandCheck, MAX_COMMANDS, readCommands } from "../../../connectors/http/bulk.js";
import type { StockCommand } from "../../../engine/stock/model.js";

const packr = new Packr({ useRecords: false });
const KIB = 1_024;

/** Reads everything, and returns the largest number of commands between two turns of the event loop. */
async function readAll(body: Buffer, format: "ndjson" | "msgpack" = "ndjson") {
  let turns = 0;
  let inTurn = 0;
  let most = 0;
  const turn = (): void => {
    turns++;
    inTurn = 0;
    next = setImmediate(turn);
  };
  let next = setImmediate(turn);
  const check: CommandCheck = (candidate) => {
    most = Math.max(most, ++inTurn);
    return { command: candidate as StockCommand };
  };
  try {
    const commands = await readCommands(body, format, check);
    return { commands: commands.length, turns, most };
  } catch (thrown) {
    return { fault: (thrown as { problem: { code: string; detail: string } }).problem, turns, most };
  } finally {
    clearImmediate(next);
  }
}

describe("a long bulk body", () => {
  it("of newlines alone is refused after the largest allowed number of lines", async () => {
    const body = Buffer.alloc(BULK_LIMIT, "\n");
    const { fault, turns } = await readAll(body);
    expect(fault).toMatchObject({ code: "too_many_commands", detail: expect.stringContaining("20000 text lines") });
    expect(turns).toBeGreaterThan(30);
    expect(turns).toBeLessThan(50);
  });

  it("of long blank lines is read in several turns of the event loop", async () => {
    const line = `${" ".repeat(16 * KIB - 1)}\n`;
    const body = Buffer.from(line.repeat(BULK_LIMIT / line.length));
    const { fault, turns } = await readAll(body);
    expect(fault).toMatchObject({ detail: "the body has no command" });
    expect(turns).toBeGreaterThanOrEqual(50);
  });

  it("of many small commands is checked 500 at a time, with as many empty lines between", async () => {
    const { commands, turns, most } = await readAll(Buffer.from("{}\n\n".repeat(MAX_COMMANDS)));
    expect(commands).toBe(MAX_COMMANDS);
    expect(turns).toBeGreaterThanOrEqual(38);
    expect(most).toBeLessThanOrEqual(500);
  });

  it("of few large commands is checked 128 KiB at a time", async () => {
    const command = { reason: "x".repeat(16 * KIB - 20) };
    const lines = Buffer.from(`${JSON.stringify(command)}\n`.repeat(500));
    const list = packr.pack(Array.from({ length: 500 }, () => command));
    for (const { commands, turns, most } of [await readAll(lines), await readAll(list, "msgpack")]) {
      expect(commands).toBe(500);
      expect(turns).toBeGreaterThanOrEqual(50);
      expect(most).toBeLessThanOrEqual(9);
    }
  });

  it("of one command as large as the body is refused when 16 KiB of it are read", async () => {
    const nested = Array.from({ length: 500 }, () => Array.from({ length: 1_000 }, () => 1));
    const { fault } = await readAll(packr.pack([{ nested }]), "msgpack");
    expect(fault?.detail).toContain("is longer than 16384 bytes");
  });
});
