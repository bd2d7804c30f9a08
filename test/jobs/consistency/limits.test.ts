/** What the consistency job keeps and asks for stays bounded, however many breakers there are. */
import { describe, expect, it } from "vitest";
import { SNAPSHOT_EVENT } from "../../../engine/jobs/consistency/events.js";
import { ConsistencyBed, overBy, within } from "./bed.js";

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

  it("a dry run remembers only the scopes that would be open", () => {
    const bed = new ConsistencyBed();
    bed.mode = "dry-run";
    for (let i = 0; i < 5; i++) {
      bed.event(SNAPSHOT_EVENT);
      bed.compared(overBy(`sku:S${i}`));
    }
    expect(Object.keys(bed.state.scopes)).toEqual(["sku:S4"]);
  });
});
