/**
 * Acknowledges an alert in the name of a person (R10, R11). An alert of depletion is acknowledged by a command of the
 * ledger, so it is in the stock's log like everything that happens to a SKU; any other by an event of the topic
 * `alerts`. The first acknowledgement counts, and one of an alert that is not open changes nothing, so all of it is
 * safe to repeat.
 */
import type { Alert } from "../../alerting/alert.js";
import { alertKeyOf } from "../../alerting/alert.js";
import { ALERT_RULES, type AlertRuleName } from "../../alerting/rules.js";
import { chainId } from "../../kernel/chain-id.js";
import type { Clock } from "../../kernel/clock.js";
import type { Ledger } from "../../stock/ledger.js";
import type { NewEvent } from "../../stream/event-entry.js";
import { ACKNOWLEDGE_EVENT, type AcknowledgeEvent, ALERTS_TOPIC } from "./events.js";

/** Who acknowledges: the authenticated name, and who that was for, if somebody else. */
export interface AcknowledgementCause {
  readonly actor: string;
  readonly onBehalfOf?: string;
  readonly reason?: string;
}

export interface AcknowledgementParts {
  readonly ledger: Pick<Ledger, "apply">;
  append(topic: string, events: readonly NewEvent[]): Promise<void>;
  /** The shop's time. */
  readonly clock: Clock;
  /** Channel code of the command's id, 2 characters of 0-9 A-Z. */
  readonly channel: string;
  /** The command's location: an alert has none. */
  readonly location: string;
}

/** The rule and subject of an alert's id; undefined when no alert can have it. */
export function subjectOf(alertId: string): Pick<Alert, "rule" | "subject"> | undefined {
  const [, name, number] = /^(.+)#(\d{1,15})$/s.exec(alertId) ?? [];
  if (name === undefined || number === undefined) return undefined;
  const at = name.indexOf("~");
  const rule = name.slice(0, Math.max(0, at));
  if (rule !== "depletion" && Object.hasOwn(ALERT_RULES, rule))
    return { rule: rule as AlertRuleName, subject: name.slice(at + 1) };
  return { rule: "depletion", subject: name };
}

/**
 * Returns when the acknowledgement is in a log; views have it soon after.
 * @returns false when no alert can have this id
 * @throws EngineError as the ledger and the topic
 */
export async function acknowledge(
  alertId: string,
  cause: AcknowledgementCause,
  { ledger, append, clock, channel, location }: AcknowledgementParts,
): Promise<boolean> {
  const found = subjectOf(alertId);
  if (!found) return false;
  if (found.rule === "depletion") {
    const id = chainId(channel, clock.now());
    await ledger.apply({ kind: "acknowledge", id, sku: found.subject, location, ...cause, alertId });
  } else {
    const payload: AcknowledgeEvent = { alertId, actor: cause.onBehalfOf ?? cause.actor };
    await append(ALERTS_TOPIC, [
      { id: `${alertId} ${cause.actor}`, key: alertKeyOf(found), kind: ACKNOWLEDGE_EVENT, payload },
    ]);
  }
  return true;
}
