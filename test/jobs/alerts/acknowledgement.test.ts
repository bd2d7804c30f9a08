/**
 * Acknowledging an alert of any rule: by a command of the ledger, or by an event.
 */
import { expect, it } from "vitest";
import { acknowledge, subjectOf } from "../../../engine/jobs/alerts/acknowledgement.js";
import type { StockCommand as Command } from "../../../engine/stock/model.js";
import type { NewEvent } from "../../../engine/stream/event-entry.js";

const parts = () => {
  const commands: Command[] = [];
  const events: (NewEvent & { topic: string })[] = [];
  return {
    commands,
    events,
    channel: "AA",
    location: "main",
    clock: { now: () => 1_781_000_000_000 },
    ledger: {
      apply: async (command: Command) => {
        commands.push(command);
        return { outcome: "accepted" } as never;
      },
    },
    append: async (topic: string, appended: readonly NewEvent[]) => {
      events.push(...appended.map((event) => ({ ...event, topic })));
    },
  };
};

it("sends a command for an alert of depletion, also of a SKU with # and ~ in its name", async () => {
  const given = parts();
  expect(await acknowledge("A~1#2#3", { actor: "li.wei/iPhone" }, given)).toBe(true);
  expect(given.commands).toMatchObject([
    { kind: "acknowledge", sku: "A~1#2", alertId: "A~1#2#3", actor: "li.wei/iPhone", location: "main" },
  ]);
  expect(given.events).toEqual([]);
});

it("appends an event for every other rule, under the alert's key", async () => {
  const given = parts();
  expect(await acknowledge("breaker~location:east#4", { actor: "lin" }, given)).toBe(true);
  expect(given.commands).toEqual([]);
  expect(given.events).toMatchObject([
    {
      topic: "alerts",
      key: "breaker~location:east",
      kind: "acknowledge",
      payload: { alertId: "breaker~location:east#4", actor: "lin" },
    },
  ]);
});

it("refuses what no alert can be named", async () => {
  const given = parts();
  for (const id of ["", "A-1", "#1", "A-1#", "A-1#x"])
    expect(await acknowledge(id, { actor: "lin" }, given)).toBe(false);
  expect([...given.commands, ...given.events]).toEqual([]);
  expect(subjectOf("A-1#1")).toEqual({ rule: "depletion", subject: "A-1" });
  expect(subjectOf("constructor~A#1")).toEqual({ rule: "depletion", subject: "constructor~A" });
});
