/**
 * The rules that raise alerts, as one table: about stock, orders and the engine itself. Each names a subject (a SKU, a
 * breaker's scope, a sink), and at most one alert of a rule and subject is open at a time. When a rule fires is decided
 * where its figures are: `engine/jobs/depletion` for depletion, `engine/jobs/consistency` for breakers, and the
 * condition watch of each worker for the rest. Texts for people are in texts.ts.
 */

/** `critical` passes quiet hours. */
export type Severity = "critical" | "warning";

export interface AlertRule {
  readonly severity: Severity;
  /** What its subject is. */
  readonly subject: "sku" | "breaker" | "exception" | "sink" | "topic" | "redis";
  /** Who is notified first when no route of the configuration says otherwise. */
  readonly roles: readonly string[];
}

export const ALERT_RULES = {
  /** A SKU's hourly depletion is above its threshold (R10). Its subject is the SKU. */
  depletion: { severity: "warning", subject: "sku", roles: ["purchasing", "warehouse"] },
  /** A breaker is open or half-open (R14). Its subject is the scope as stored: `shop`, `location:X`, `sku:X`. */
  breaker: { severity: "critical", subject: "breaker", roles: ["operations", "warehouse"] },
  /** Orders have a step that is late or was skipped (R16). Its subject is `<step>/<kind>`. */
  order_exceptions: { severity: "warning", subject: "exception", roles: ["warehouse"] },
  /** A receiver takes no deliveries: its circuit is open. Its subject is the sink: `wms`. */
  receiver_circuit: { severity: "critical", subject: "sink", roles: ["operations", "warehouse"] },
  /** Jobs are behind the end of their log. Its subject is the topic. */
  jobs_behind: { severity: "critical", subject: "topic", roles: ["operations"] },
  /** Events or deliveries have become dead letters. Its subject is the topic or the sink. */
  dead_letters: { severity: "warning", subject: "topic", roles: ["operations"] },
  /** Redis is nearly full: new orders are refused soon. Its subject is `redis`. */
  redis_full: { severity: "critical", subject: "redis", roles: ["operations"] },
} as const satisfies Record<string, AlertRule>;

export type AlertRuleName = keyof typeof ALERT_RULES;

/** The rules whose conditions the workers watch. */
export type ConditionRule = Exclude<AlertRuleName, "depletion" | "breaker">;
