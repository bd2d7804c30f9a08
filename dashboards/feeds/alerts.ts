/**
 * The feed `alerts`: alerts of all rules (R10, R11), open ones first, then the latest that have cleared; the whole list
 * whenever one has changed. Of more alerts than the size allows, the oldest are left out.
 */
import { type Feed, type FeedParameters, wholeState } from "../feed.js";

/** `hourUnits` and `dailyAverage` are as they were when the alert fired; the present figures are in `stock-heat`. */
export interface AlertBody {
  id: string;
  /** `depletion`, `breaker`, …; a newer server may have more. */
  rule: string;
  /** What the alert is about: a SKU, a breaker's scope, a sink. */
  subject: string;
  severity: "critical" | "warning";
  /** Of depletion the SKU; of other rules the subject. */
  sku: string;
  state: "fired" | "acknowledged" | "cleared";
  firedAtMs: number;
  /** Null unless it has cleared. */
  clearedAtMs: number | null;
  /** Null unless somebody has acknowledged it. */
  acknowledgedBy: string | null;
  /** 0 for other rules than depletion. */
  hourUnits: number;
  /** Null in cold start, and for other rules than depletion. */
  dailyAverage: number | null;
}

export interface AlertsBody {
  alerts: readonly AlertBody[];
}

export interface AlertsSource {
  /** Open alerts, newest first, then the latest cleared ones; `limit` in all. */
  alerts(limit: number): readonly AlertBody[];
}

/** Alerts, open and cleared together, by the parameter `size`. */
const LIMITS = { wall: 120, phone: 60 } as const;

const limitOf = ({ size }: FeedParameters): number => LIMITS[size as keyof typeof LIMITS];

export const alertsFeed = (source: AlertsSource): Feed => ({
  name: "alerts",
  role: "read",
  parameters: { size: Object.keys(LIMITS) },
  open: (parameters) => wholeState((): AlertsBody => ({ alerts: source.alerts(limitOf(parameters)) })),
});
