/**
 * What a batch brings beside its bytes: days and fingerprints. Its columns are tried in log-entry.test.ts.
 */
import { describe, expect, it } from "vitest";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { encodeBatch } from "../../engine/stock/batch.js";
import { fingerprintOf } from "../../engine/stock/fingerprint.js";
import type { StockCommand } from "../../engine/stock/model.js";
import { at, idOf, NOW } from "./log-entries.js";

describe("a batch", () => {
  it("lists the days of its ids, each once", () => {
    const commands = [NOW, NOW + DAY_MS, NOW].map(
      (timeMs, i): StockCommand => ({ kind: "receive", ...at, id: idOf(i, timeMs), units: 1 }),
    );
    expect(encodeBatch(commands).days).toEqual([NOW / DAY_MS, NOW / DAY_MS + 1]);
  });

  it("comes with a fingerprint of 8 bytes for each command, zero for one about a line reserved before", () => {
    const receive: StockCommand = { kind: "receive", ...at, units: 1 };
    const { fingerprints } = encodeBatch([{ kind: "pay", ...at, units: 1 }, receive]);
    expect([0, 8].map((offset) => fingerprints.readDoubleLE(offset))).toEqual([0, fingerprintOf(receive)]);
    expect(fingerprints).toHaveLength(16);
  });
});
