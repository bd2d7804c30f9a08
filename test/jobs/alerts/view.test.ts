/** How many alerts have fired, as the view counts them: each once, whatever is routed later. */
import { expect, it } from "vitest";
import type { Alert } from "../../../engine/alerting/alert.js";
import { ROUTE_EMIT, type RouteCommand } from "../../../engine/jobs/alerts/events.js";
import { alertsJob } from "../../../engine/jobs/alerts/job.js";
import { AlertsView } from "../../../engine/jobs/alerts/view.js";

const alertOf = (id: string): Alert => ({
  ...{ id, rule: "depletion", subject: "TEA", severity: "warning", state: "fired", firedMs: 1, figures: {} },
});

it("counts an alert once when it fires, not again with its levels, its changes or the end of a silence", () => {
  const view = new AlertsView();
  const route = (id: string, more: Partial<RouteCommand> = {}) =>
    view.onEmit({
      ...{ id: "0-0", job: view.job, key: "depletion~TEA", kind: ROUTE_EMIT, atMs: 1 },
      payload: { alert: alertOf(id), what: "notify", level: 0, recipients: [], ...more } satisfies RouteCommand,
    });
  route("TEA#1");
  route("TEA#1", { level: 1 });
  route("TEA#1");
  route("TEA#1", { what: "changed" });
  expect([...view.fired]).toEqual([["depletion", 1]]);
  route("TEA#2");
  expect([...view.fired]).toEqual([["depletion", 2]]);
});

it("gets what the job routes", () => expect(alertsJob.viewedEmits).toEqual([ROUTE_EMIT]));
