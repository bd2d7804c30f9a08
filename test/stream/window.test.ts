/**
 * Panes and the windows over them. Every case is one line of minutes; the drawing shows which panes the trailing hour
 * takes.
 *
 *      minute    39   40  41 …………………… 99   100
 *      pane       ·   |■   ■            ■|    ·        sum of 40 … 99: 60 panes
 *      dropped  ◄──   before 40
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  addToPane,
  dropPanesBefore,
  minuteEndMs,
  minuteOf,
  type Panes,
  panesFrom,
  sumOfPanes,
} from "../../engine/stream/window.js";

describe("panes", () => {
  it("put an instant into its minute, the end of one being the start of the next", () => {
    expect(minuteOf(59_999)).toBe(0);
    expect(minuteOf(60_000)).toBe(1);
    expect(minuteEndMs(0)).toBe(60_000);
    expect(minuteOf(minuteEndMs(41))).toBe(42);
  });

  it("stay sorted, one a minute, however their units come", () => {
    const panes: Panes = [];
    for (const [minute, units] of [
      [10, 1],
      [12, 2],
      [11, 3],
      [9, 4],
      [11, 5],
      [12, 1],
    ] as const)
      addToPane(panes, minute, units);
    expect(panes).toEqual([9, 4, 10, 1, 11, 8, 12, 3]);
  });

  it("take part in the trailing hour from m−59 to m, both included", () => {
    const panes: Panes = [39, 1_000, 40, 1, 41, 10, 99, 100, 100, 10_000];
    expect(sumOfPanes(panes, 40, 99)).toBe(111);
    expect(sumOfPanes(panes, 41, 100)).toBe(10_110);
    expect(sumOfPanes(panes, 101, 160)).toBe(0);
  });

  it("are dropped strictly before a minute", () => {
    const panes: Panes = [39, 1, 40, 2, 41, 3];
    dropPanesBefore(panes, 40);
    expect(panes).toEqual([40, 2, 41, 3]);
    dropPanesBefore(panes, 100);
    expect(panes).toEqual([]);
    dropPanesBefore(panes, 100);
    expect(panes).toEqual([]);
  });

  it("can be read from a minute on, without being changed", () => {
    const panes: Panes = [39, 1, 41, 3];
    expect(panesFrom(panes, 40)).toEqual([41, 3]);
    expect(panesFrom(panes, 0)).toEqual([39, 1, 41, 3]);
    expect(panesFrom(panes, 42)).toEqual([]);
    expect(panes).toHaveLength(4);
  });

  it("agree with a plain map over random additions, drops and sums", () => {
    const minute = fc.integer({ min: 0, max: 90 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(minute, fc.integer({ min: 1, max: 9 }), fc.option(minute)), { maxLength: 60 }),
        fc.tuple(minute, minute),
        (additions, [from, to]) => {
          const panes: Panes = [];
          const model = new Map<number, number>();
          for (const [at, units, drop] of additions) {
            addToPane(panes, at, units);
            model.set(at, (model.get(at) ?? 0) + units);
            if (drop !== null) {
              dropPanesBefore(panes, drop);
              for (const known of model.keys()) if (known < drop) model.delete(known);
            }
          }
          expect(panes).toEqual([...model].sort(([a], [b]) => a - b).flat());
          const sum = [...model].reduce((sum, [at, units]) => (at >= from && at <= to ? sum + units : sum), 0);
          expect(sumOfPanes(panes, from, to)).toBe(sum);
        },
      ),
    );
  });
});
