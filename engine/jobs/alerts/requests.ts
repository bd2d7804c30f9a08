/**
 * What people do about alerts: acknowledge one, and silence or unsilence what matches. An alert of depletion is
 * acknowledged by a command of the ledger, because its own job decides; all others by an event of the topic `alerts`.
 * Both are in a log when this returns, and views have them a moment later. Everything may be repeated.
 */
import { alertKeyOf } from "../../alerting/alert.js";
import { isSilencedBy, type Silence } from "../../alerting/silence.js";
import { chainId } from "../../kernel/chain-id.js";
import type { Clock } from "../../kernel/clock.js";
import type { Ledger } from "../../stock/ledger.js";
import type { Cause } from "../../stock/model.js";
import type { NewEvent } from "../../stream/event-entry.js";
import type { AlertList } from "./alert-list.js";
import { ACKNOWLEDGE_EVENT, type AcknowledgeEvent, SILENCE_EVENT, type SilenceEvent } from "./events.js";
import type { AlertRecord } from "./state.js";

/** `unknown`: no alert of the last day has the id. `cleared`: it needs no acknowledgement any more. */
export type AcknowledgeOutcome =
  | { readonly outcome: "recorded" | "repeated"; readonly record: AlertRecord; readonly acknowledgedBy: string }
  | { readonly outcome: "unknown" }
  | { readonly outcome: "cleared" };

export interface AlertRequestsOptions {
  readonly list: Pick<AlertList, "get" | "open">;
  readonly ledger: Pick<Ledger, "apply">;
  /** To the topic `alerts`. */
  append(events: readonly NewEvent[]): Promise<void>;
  /** The shop's. */
  readonly clock: Clock;
}

/** Channel code of the ids that are made here. */
const CHANNEL = "AL";
/** A ledger command names a location; an acknowledgement changes no stock. */
const ANY_LOCATION = "main";

export class AlertRequests {
  readonly #options: AlertRequestsOptions;

  constructor(options: AlertRequestsOptions) {
    this.#options = options;
  }

  /**
   * Records who acknowledges an alert; the first one counts.
   * @throws EngineError when the log cannot be written
   */
  async acknowledge(alertId: string, cause: Cause & { readonly actor: string }): Promise<AcknowledgeOutcome> {
    const { list, ledger, append } = this.#options;
    const record = list.get(alertId);
    if (!record) return { outcome: "unknown" };
    const { alert } = record;
    if (alert.state === "cleared") return { outcome: "cleared" };
    if (alert.acknowledgedBy !== undefined)
      return { outcome: "repeated", record, acknowledgedBy: alert.acknowledgedBy };
    const { actor } = cause;
    const id = this.#id();
    if (alert.rule === "depletion") {
      const sku = alert.subject;
      await ledger.apply({ kind: "acknowledge", id, sku, location: ANY_LOCATION, ...cause, alertId });
    } else {
      const payload: AcknowledgeEvent = { alertId, actor };
      await append([{ id, key: alertKeyOf(alert), kind: ACKNOWLEDGE_EVENT, payload }]);
    }
    return { outcome: "recorded", record, acknowledgedBy: actor };
  }

  /**
   * Has the open alerts routed again that a silence matches, or matched until it was ended.
   * @throws EngineError when the topic cannot be written: the silence counts all the same, from the next level on
   */
  async silenceChanged(silence: Silence): Promise<void> {
    const payload: SilenceEvent = { silenceId: silence.id };
    // Whether it has ended is read by the sink.
    const endless = { ...silence, untilMs: Number.POSITIVE_INFINITY };
    const matching = this.#options.list.open().filter(({ alert }) => isSilencedBy(alert, endless, 0));
    const events = matching.map(({ alert }) => ({
      ...{ id: this.#id(), key: alertKeyOf(alert), kind: SILENCE_EVENT, payload },
    }));
    if (events.length > 0) await this.#options.append(events);
  }

  #id(): string {
    return chainId(CHANNEL, this.#options.clock.now());
  }
}
