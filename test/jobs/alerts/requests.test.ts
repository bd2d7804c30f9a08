/**
 * The alerts that people see, joined from two views, and what people do about them: which log gets it, and that what is
 * repeated, late or unknown changes nothing.
 */
import { beforeEach, describe, expect, it } from "vitest";
import type { Alert } from "../../../engine/alerting/alert.js";
import type { Silence } from "../../../engine/alerting/silence.js";
import { AlertList, type DepletionAlert } from "../../../engine/jobs/alerts/alert-list.js";
import { AlertRequests } from "../../../engine/jobs/alerts/requests.js";
import type { AlertRecord } from "../../../engine/jobs/alerts/state.js";
import { ManualClock } from "../../../engine/kernel/clock.js";
import type { StockCommand } from "../../../engine/stock/model.js";
import type { NewEvent } from "../../../engine/stream/event-entry.js";

const START_MS = Date.UTC(2026, 5, 18);
const OK = { outcome: "accepted", repeated: false, state: "none" } as const;

const alertOf = (id: string, more: Partial<Alert> = {}): AlertRecord => ({
  alert: {
    ...{ id, rule: "depletion", subject: id.split("#")[0] as string, severity: "warning", state: "fired" },
    ...{ firedMs: START_MS, figures: { hourUnits: 9, dailyAverage: null, thresholdUnits: 5 } },
    ...more,
  },
  level: 1,
  recipients: ["person:li.wei"],
});
const breaker = (more: Partial<Alert> = {}) =>
  alertOf("breaker~shop#2", { rule: "breaker", subject: "shop", severity: "critical", figures: {}, ...more });
const depletion = (id: string, more: Partial<DepletionAlert> = {}): DepletionAlert => ({
  ...{ id, sku: id.split("#")[0] as string, state: "fired", firedAtMs: START_MS, clearedAtMs: undefined },
  ...{ hourUnits: 9, dailyAverage: undefined, acknowledgedBy: undefined },
  ...more,
});

let open: AlertRecord[];
let cleared: AlertRecord[];
let openDepletion: DepletionAlert[];
let clearedDepletion: DepletionAlert[];
let list: AlertList;
let requests: AlertRequests;
let commands: StockCommand[];
let events: NewEvent[];

beforeEach(() => {
  [open, cleared, openDepletion, clearedDepletion, commands, events] = [[], [], [], [], [], []];
  list = new AlertList(
    {
      open: () => open,
      cleared: () => cleared,
      get: (id) => [...open, ...cleared].find(({ alert }) => alert.id === id),
    },
    { openAlerts: () => openDepletion, clearedAlerts: () => clearedDepletion },
  );
  requests = new AlertRequests({
    list,
    ledger: {
      apply: async (command: StockCommand) => {
        commands.push(command);
        return OK;
      },
    },
    append: async (appended) => {
      events.push(...appended);
    },
    clock: new ManualClock(START_MS),
  });
});

describe("the list", () => {
  it("has a depletion alert before the alert job has it, and then with who was notified", () => {
    openDepletion = [depletion("TEA#1")];
    expect(list.open()).toEqual([
      { level: 0, recipients: [], alert: { ...alertOf("TEA#1").alert, figures: { hourUnits: 9, dailyAverage: null } } },
    ]);
    open = [alertOf("TEA#1")];
    expect(list.open()).toEqual([alertOf("TEA#1")]);
  });

  it("follows the depletion job where it is ahead: acknowledged, then cleared", () => {
    open = [alertOf("TEA#1"), breaker()];
    openDepletion = [depletion("TEA#1", { state: "acknowledged", acknowledgedBy: "li.wei" })];
    expect(list.get("TEA#1")?.alert).toMatchObject({ state: "acknowledged", acknowledgedBy: "li.wei" });
    [openDepletion, clearedDepletion] = [[], [depletion("TEA#1", { state: "cleared", clearedAtMs: START_MS + 1 })]];
    expect(list.open().map(({ alert }) => alert.id)).toEqual(["breaker~shop#2"]);
    expect(list.cleared()).toMatchObject([{ alert: { id: "TEA#1", clearedMs: START_MS + 1 }, level: 1 }]);
  });
});

describe("an acknowledgement", () => {
  it("of depletion is a command of the ledger", async () => {
    openDepletion = [depletion("TEA#1")];
    const cause = { actor: "li.wei/phone", onBehalfOf: "li" };
    expect(await requests.acknowledge("TEA#1", cause)).toMatchObject({
      outcome: "recorded",
      acknowledgedBy: "li.wei/phone",
    });
    expect(commands).toMatchObject([{ kind: "acknowledge", sku: "TEA", alertId: "TEA#1", ...cause }]);
    expect(events).toEqual([]);
  });

  it("of another rule is an event with the alert's key", async () => {
    open = [breaker()];
    expect(await requests.acknowledge("breaker~shop#2", { actor: "wang" })).toMatchObject({ outcome: "recorded" });
    expect(events).toMatchObject([
      { key: "breaker~shop", kind: "acknowledge", payload: { alertId: "breaker~shop#2", actor: "wang" } },
    ]);
    expect(commands).toEqual([]);
  });

  it("that is repeated, late or unknown is written nowhere", async () => {
    open = [breaker({ state: "acknowledged", acknowledgedBy: "zhao" })];
    cleared = [alertOf("TEA#1", { state: "cleared", clearedMs: START_MS })];
    expect(await requests.acknowledge("breaker~shop#2", { actor: "wang" })).toMatchObject({
      outcome: "repeated",
      acknowledgedBy: "zhao",
    });
    expect(await requests.acknowledge("TEA#1", { actor: "wang" })).toEqual({ outcome: "cleared" });
    expect(await requests.acknowledge("TEA#2", { actor: "wang" })).toEqual({ outcome: "unknown" });
    expect([commands, events]).toEqual([[], []]);
  });
});

describe("a silence", () => {
  const silence: Silence = {
    ...{ id: "S1", untilMs: START_MS + 1, reason: "counted", actor: "li", createdMs: START_MS },
  };

  it("has the open alerts routed again that it matches, also when it has ended", async () => {
    open = [alertOf("TEA#1", { category: "drinks" }), alertOf("CUP#1", { category: "cups" }), breaker()];
    await requests.silenceChanged({ ...silence, category: "drinks" });
    await requests.silenceChanged({ ...silence, rule: "breaker", untilMs: START_MS - 1 });
    await requests.silenceChanged({ ...silence, sku: "BOWL" });
    expect(events.map(({ key, kind, payload }) => ({ key, kind, payload }))).toEqual([
      { key: "depletion~TEA", kind: "silence", payload: { silenceId: "S1" } },
      { key: "breaker~shop", kind: "silence", payload: { silenceId: "S1" } },
    ]);
  });
});
