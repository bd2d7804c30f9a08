/**
 * Which alerts a silence and a route match, and what is suggested to be ordered (R7, R11).
 */
import { Type } from "typebox";
import { expect, it } from "vitest";
import { defineChannelKind } from "../../connectors/channel.js";
import { type Alert, alertKeyOf } from "../../engine/alerting/alert.js";
import {
  CHANGED_EVENT,
  DELIVERED_EVENT,
  NOTIFICATIONS_TOPIC,
  NOTIFY_EVENT,
  sendKindOf,
  TEST_EVENT,
} from "../../engine/alerting/notification.js";
import { reorderPointOf, suggestedUnitsOf } from "../../engine/alerting/replenishment.js";
import { type AlertRoute, ESCALATE_MS, isWithin, routeOf } from "../../engine/alerting/route.js";
import { ALERT_RULES } from "../../engine/alerting/rules.js";
import { isSilencedBy, type Silence } from "../../engine/alerting/silence.js";
import {
  ACKNOWLEDGE_EVENT,
  ALERTS_TOPIC,
  BREAKER_EVENT,
  CONDITION_EVENT,
  DEPLETION_EVENT,
  ROUTE_EMIT,
  ROUTED_EVENT,
  SILENCE_EVENT,
} from "../../engine/jobs/alerts/events.js";

const ALERT: Alert = {
  id: "A-1#3",
  rule: "depletion",
  subject: "A-1",
  severity: "warning",
  state: "fired",
  firedMs: 1_000,
  figures: { hourUnits: 90, dailyAverage: 20, thresholdUnits: 60 },
  category: "tea",
  locations: ["main"],
};

const silence = (match: Partial<Silence>): Silence => ({
  ...{ id: "s", untilMs: 2_000, reason: "stocktaking", actor: "lin", createdMs: 0 },
  ...match,
});

it("matches a silence when every field of it does, until it ends", () => {
  const isSilenced = (match: Partial<Silence>, nowMs = 1_500) => isSilencedBy(ALERT, silence(match), nowMs);
  expect(isSilenced({ sku: "A-1" })).toBe(true);
  expect(isSilenced({ sku: "A-1" }, 2_000)).toBe(false);
  expect(isSilenced({ sku: "A-2" })).toBe(false);
  expect(isSilenced({ category: "tea", location: "main" })).toBe(true);
  expect(isSilenced({ category: "tea", location: "north" })).toBe(false);
  expect(isSilenced({ rule: "breaker" })).toBe(false);
});

it("uses the first route that matches", () => {
  const route = (name: string, match: AlertRoute["match"]): AlertRoute => ({
    name,
    match,
    levels: [
      { afterMs: 0, to: ["role:purchasing"] },
      { afterMs: ESCALATE_MS, to: ["everybody"] },
    ],
  });
  const routes = [
    route("night", { hours: { fromMinute: 22 * 60, toMinute: 7 * 60 } }),
    route("tea", { categories: ["tea"], rules: ["depletion"] }),
    route("rest", {}),
  ];
  expect(routeOf(ALERT, routes, 23 * 60)?.name).toBe("night");
  expect(routeOf(ALERT, routes, 12 * 60)?.name).toBe("tea");
  expect(routeOf({ ...ALERT, category: "wine" }, routes, 12 * 60)?.name).toBe("rest");
});

it("takes hours over midnight", () => {
  const night = { fromMinute: 22 * 60, toMinute: 7 * 60 };
  expect([21, 22, 6, 7].map((hour) => isWithin(night, hour * 60))).toEqual([false, true, true, false]);
});

it("suggests what is missing to the reorder point (R7)", () => {
  expect(reorderPointOf({ safetyUnits: 5, dailyAverage: 20 })).toBe(69);
  const figures = { sellableUnits: 40, safetyUnits: 5, inboundUnits: 10, dailyAverage: 20 };
  expect(suggestedUnitsOf(figures)).toBe(19);
  expect(suggestedUnitsOf({ ...figures, inboundUnits: 29 })).toBe(0);
  expect(suggestedUnitsOf({ ...figures, dailyAverage: undefined })).toBeUndefined();
});

it("names every kind of event and emit once", () => {
  const kinds = [ACKNOWLEDGE_EVENT, BREAKER_EVENT, CONDITION_EVENT, DEPLETION_EVENT, ROUTED_EVENT, SILENCE_EVENT];
  expect(new Set([...kinds, ROUTE_EMIT, sendKindOf("web-push")]).size).toBe(kinds.length + 2);
  expect(new Set([NOTIFY_EVENT, CHANGED_EVENT, TEST_EVENT, DELIVERED_EVENT]).size).toBe(4);
  expect([ALERTS_TOPIC, NOTIFICATIONS_TOPIC, alertKeyOf(ALERT)]).toEqual(["alerts", "notifications", "depletion~A-1"]);
});

it("has who is notified first for every rule, and infers the settings of a channel", () => {
  for (const { roles } of Object.values(ALERT_RULES)) expect(roles.length).toBeGreaterThan(0);
  const kind = defineChannelKind({
    name: "pager",
    about: "for this test",
    connection: Type.Object({ url: Type.String() }),
    traits: { perMinute: 20, confirmsDisplay: false, sendsChanges: false },
    recognisesRepeats: false,
    limits: { perSecond: 1, inFlight: 1 },
    open: async ({ endpoints }) => ({
      send: async () => ({ outcome: "refused", reason: endpoints[0]?.settings.url ?? "none" }),
    }),
  });
  expect(kind.name).toBe("pager");
});
