/**
 * A sandbox of an Alertmanager: it takes alerts by API v2, checks labels and times as the original does, keeps one
 * alert for each set of labels, and lists those that are open. It neither groups nor notifies anybody.
 *
 *   POST /api/v2/alerts    200, 400 an alert that the original refuses
 *   GET /api/v2/alerts     the open alerts
 */
import { systemClock } from "../../engine/kernel/clock.js";
import {
  type SandboxAnswer,
  type SandboxRequest,
  SandboxServer,
  type SandboxServerSettings,
} from "../sources/sandbox/server.js";
import type { PostableAlert } from "./alerts.js";

const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const ALERTS_KEPT = 10_000;

export class AlertmanagerSandbox extends SandboxServer {
  /** The newest of each set of labels, in the order in which they came first. */
  readonly #alerts = new Map<string, PostableAlert>();
  /** Alerts of a set of labels that was there already. */
  repeats = 0;

  constructor(settings: SandboxServerSettings = {}) {
    super(settings);
  }

  /** Those that have not ended. */
  get open(): readonly PostableAlert[] {
    return this.all.filter(({ endsAt }) => Date.parse(endsAt) > systemClock.now());
  }

  get all(): readonly PostableAlert[] {
    return [...this.#alerts.values()];
  }

  protected answer({ method, url, headers, body }: SandboxRequest): SandboxAnswer {
    const isJson = headers["content-type"]?.startsWith("application/json");
    if (url.pathname !== "/api/v2/alerts") return { status: 404, body: "" };
    if (method === "GET") return { headers: { "content-type": "application/json" }, body: JSON.stringify(this.open) };
    const alerts = JSON.parse(body) as PostableAlert[];
    const fault = isJson && Array.isArray(alerts) ? alerts.map(faultOf).find(Boolean) : "no list of alerts as JSON";
    if (fault !== undefined) return { status: 400, body: JSON.stringify(fault) };
    for (const alert of alerts) this.#take(alert);
    return { body: "" };
  }

  protected throttled(): SandboxAnswer {
    return { status: 429, headers: { "retry-after": "1" }, body: "too many requests in this second" };
  }

  #take(alert: PostableAlert): void {
    const key = JSON.stringify(Object.entries(alert.labels).sort());
    if (this.#alerts.has(key)) this.repeats++;
    else if (this.#alerts.size >= ALERTS_KEPT) this.#alerts.delete(this.#alerts.keys().next().value as string);
    this.#alerts.set(key, alert);
  }
}

function faultOf({ labels, annotations, startsAt, endsAt }: PostableAlert): string | undefined {
  const names = [...Object.keys(labels), ...Object.keys(annotations)];
  if (Object.keys(labels).length === 0) return "at least one label pair required";
  const wrong = names.find((name) => !LABEL_NAME.test(name));
  if (wrong !== undefined) return `invalid name ${JSON.stringify(wrong)}`;
  const [start, end] = [Date.parse(startsAt), Date.parse(endsAt)];
  if (Number.isNaN(start) || Number.isNaN(end)) return "start time and end time must be times";
  return end < start ? "start time must be before end time" : undefined;
}
