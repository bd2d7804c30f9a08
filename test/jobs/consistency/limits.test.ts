/** What the consistency job keeps, asks for and says stays bounded, however many breakers and names there are. */
import { describe, expect, it } from "vitest";
import { SNAPSHOT_EVENT } from "../../../engine/jobs/consistency/events.js";
import { TICK_KIND } from "../../../engine/stream/event-entry.js";
import { ConsistencyBed, overBy, START_MS, within } from "./bed.js";

describe("of many breakers", () => {
  it("a hundred half-open breakers are judged by one comparison, the rest by the next", () => {
    const bed = new ConsistencyBed();
    for (let i = 0; i < 150; i++) bed.set(`sku:S${i}`, "half_open");
    bed.observe();
    for (const expected of [100, 50]) {
      const [command, ...others] = bed.compares();
      expect(others).toEqual([]);
      bed.answer(command as never, ...(command?.scopes ?? []).map(({ scope }) => within(scope)));
      expect(bed.execute()).toHaveLength(expected);
    }
    expect(bed.compares()).toEqual([]);
    expect(bed.view.breakers()).toEqual([]);
  });

  it("those that are too many to be opened at once are warned of", () => {
    const bed = new ConsistencyBed();
    for (const unlisted of [3, 0]) {
      bed.unlisted = unlisted;
      bed.event(SNAPSHOT_EVENT);
      bed.compared(overBy("sku:S1"));
      const found = unlisted === 0 ? [] : [expect.stringContaining("3 locations or SKUs are above")];
      expect(bed.view.warnings(bed.nowMs)).toEqual(found);
    }
  });

  it("a dry run keeps only the scopes that would be open", () => {
    const bed = new ConsistencyBed();
    bed.mode = "dry-run";
    for (let i = 0; i < 5; i++) {
      bed.event(SNAPSHOT_EVENT);
      bed.compared(overBy(`sku:S${i}`));
    }
    expect(Object.keys(bed.state.scopes)).toEqual(["sku:S4"]);
  });
});

it("cuts a long reason between characters", () => {
  const bed = new ConsistencyBed();
  bed.event(TICK_KIND);
  const { evidence, ...rest } = overBy();
  let snapshotMs = START_MS;
  for (const skus of [["𠮷".repeat(100)], [`x${"𠮷".repeat(100)}`]]) {
    bed.compared({ ...rest, snapshotMs, ...(evidence && { evidence: { ...evidence, skus } }) });
    const [command] = bed.execute();
    expect(command?.reason.length).toBeLessThanOrEqual(200);
    expect(command?.reason).toMatch(/𠮷$/u);
    bed.set("shop", "close");
    bed.observe();
    bed.pass(1);
    bed.event(SNAPSHOT_EVENT);
    snapshotMs = bed.nowMs + 1;
  }
});
