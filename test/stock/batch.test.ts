/**
 * What a batch brings beside its bytes: days, fingerprints and expectations. Its columns are tried in
 * log-entry.test.ts.
 */
import { describe, expect, it } from "vitest";
import { DAY_MS } from "../../engine/kernel/clock.js";
import { encodeBatch } from "../../engine/stock/batch.js";
import { fingerprintOf } from "../../engine/stock/fingerprint.js";
import type { StockCommand } from "../../engine/stock/model.js";
import { at, idOf, NOW, packr } from "./log-entries.js";

describe("a batch", () => {
  it("lists the days of its ids, each once", () => {
    const commands = [NOW, NOW + DAY_MS, NOW].map(
      (timeMs, i): StockCommand => ({ kind: "receive", ...at, id: idOf(i, timeMs), units: 1 }),
    );
    expect(encodeBatch(commands).days).toEqual([NOW / DAY_MS, NOW / DAY_MS + 1]);
  });

  it("comes with what its corrections expect, apart from its bytes", () => {
    const settlement = { comparison: "c", source: "wms", snapshot: "s", proposal: "p", asOfMs: NOW - 1 };
    const correct: StockCommand = { kind: "correct", ...at, units: 1 };
    const { bytes, expectations } = encodeBatch([
      { ...correct, id: idOf(1) },
      { ...correct, id: idOf(2), expected: { onHandUnits: 7 } },
      { ...correct, id: idOf(3), settlement },
      { ...correct, id: idOf(4), expected: { onHandUnits: 0 }, settlement },
    ]);
    expect(packr.unpack(expectations)).toEqual([
      [2, 7, -1],
      [3, -1, NOW - 1],
      [4, 0, NOW - 1],
    ]);
    expect(packr.unpack(bytes)).toHaveLength(14);
    expect(encodeBatch([correct]).expectations).toHaveLength(0);
  });

  it("has no detail in format 1 that its readers refuse", () => {
    const settlement = { comparison: "c", source: "wms", snapshot: "s", proposal: "p", asOfMs: NOW };
    const correct: StockCommand = { kind: "correct", ...at, units: 1, actor: "a", onBehalfOf: "b", settlement };
    const detailsIn = (format: number): unknown =>
      (packr.unpack(encodeBatch([correct], format).bytes) as unknown[])[13];
    expect(detailsIn(1)).toEqual([[0, { actor: "a" }]]);
    expect(detailsIn(2)).toEqual([[0, { actor: "a", onBehalfOf: "b", settlement }]]);
  });

  it("comes with a fingerprint of 8 bytes for each command, zero for one about a line reserved before", () => {
    const receive: StockCommand = { kind: "receive", ...at, units: 1 };
    const { fingerprints } = encodeBatch([{ kind: "pay", ...at, units: 1 }, receive]);
    expect([0, 8].map((offset) => fingerprints.readDoubleLE(offset))).toEqual([0, fingerprintOf(receive)]);
    expect(fingerprints).toHaveLength(16);
  });
});
