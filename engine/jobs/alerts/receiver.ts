/**
 * Executes what the alert job emits: decides whom an alert notifies, appends that to the topic `notifications`, and
 * then the answer `routed` to the topic `alerts`. An alert within a silence notifies nobody until the silence ends.
 * Alerts of depletion get what helps to decide: stock, receipts on their way, minutes left, units to order. A command
 * that is executed twice after a crash appends the same again, which both jobs recognise. When Redis does not answer, a
 * command is tried again.
 */
import { type Alert, alertKeyOf, type StockOutlook } from "../../alerting/alert.js";
import type { AlertDirectory } from "../../alerting/directory.js";
import {
  CHANGED_EVENT,
  type ChangedEvent,
  NOTIFICATIONS_TOPIC,
  NOTIFY_EVENT,
  type NotifyEvent,
} from "../../alerting/notification.js";
import { suggestedUnitsOf } from "../../alerting/replenishment.js";
import { planOf } from "../../alerting/routing.js";
import { isSilencedBy, type Silence } from "../../alerting/silence.js";
import type { Clock } from "../../kernel/clock.js";
import { EngineError, messageOf } from "../../kernel/errors.js";
import type { Zone } from "../../kernel/zone.js";
import type { Delivery, DeliveryOutcome, Receiver } from "../../outbox/receiver.js";
import type { NewEvent } from "../../stream/event-entry.js";
import { ALERTS_TOPIC, ROUTE_EMIT, ROUTED_EVENT, type RouteCommand, type RoutedEvent } from "./events.js";

/** The stock of a SKU over all locations. */
export interface StockFacts {
  readonly category: string | undefined;
  /** Those that have units of it. */
  readonly locations: readonly string[];
  readonly sellableUnits: number;
  readonly safetyUnits: number;
  /** Of the trailing hour, now. */
  readonly hourUnits: number;
  /** Undefined in cold start. */
  readonly dailyAverage: number | undefined;
}

export interface AlertReceiverOptions {
  readonly name: string;
  readonly directory: AlertDirectory;
  /** Those that have not ended. */
  silences(): Promise<readonly Silence[]>;
  /** Undefined: nothing is known about the SKU. */
  stockOf(sku: string): StockFacts | undefined;
  /** Units of receipts on their way. */
  inboundUnits(sku: string): Promise<number>;
  readonly zone: Zone;
  /** The shop's time. */
  readonly clock: Clock;
  append(topic: string, events: readonly NewEvent[]): Promise<void>;
}

/** That an alert names: it is stored for each recipient. Silences and alert routes apply to all. */
const MAX_LOCATIONS = 20;
/** Of what is reported to the operator. */
const MAX_NAMED = 5;

export class AlertReceiver implements Receiver {
  readonly name: string;
  readonly #options: AlertReceiverOptions;
  /** Targets and people, of the last alert that was routed. */
  #unreachable: readonly string[] = [];
  #reachesNobody = false;

  constructor(options: AlertReceiverOptions) {
    this.name = options.name;
    this.#options = options;
  }

  wants(kind: string): boolean {
    return kind === ROUTE_EMIT;
  }

  async deliver({ id, payload, atMs }: Delivery): Promise<DeliveryOutcome> {
    try {
      const command = payload as RouteCommand;
      if (command.what === "notify") await this.#notify(id, command, atMs);
      else await this.#change(id, command.recipients, { alert: command.alert });
      return { outcome: "done" };
    } catch (thrown) {
      const reason = `${id}: ${messageOf(thrown)}`;
      // Content that no topic takes would be refused again and again.
      const isBadInput = thrown instanceof EngineError && thrown.code === "bad_input";
      return isBadInput ? { outcome: "refused", reason } : { outcome: "retry", reason };
    }
  }

  /** What an operator has to do although the process works. */
  warnings(): string[] {
    if (this.#reachesNobody) return ["the last alert has notified nobody: no person and no endpoint can be reached"];
    if (this.#unreachable.length === 0) return [];
    const named = this.#unreachable.slice(0, MAX_NAMED).join(", ");
    const more = this.#unreachable.length > MAX_NAMED ? ` and ${this.#unreachable.length - MAX_NAMED} more` : "";
    return [`alerts do not reach ${named}${more}: nobody is there, or no contact of the person can be used`];
  }

  async #notify(id: string, command: RouteCommand, atMs: number): Promise<void> {
    const { directory, silences, zone, clock, append } = this.#options;
    // The log's clock may be ahead of this machine's: a silence that has ended there has ended.
    const nowMs = Math.max(clock.now(), atMs);
    const explained = await this.#explained(command);
    const silence = (await silences()).find((each) => isSilencedBy(explained.alert, each, nowMs));
    const found = limited(explained);
    const { alert } = found;
    if (silence) {
      await this.#change(id, command.recipients, { alert, isSilenced: true });
      const { id: silenceId, untilMs } = silence;
      await this.#answer(id, { ...found, level: command.level, recipients: [], silence: { id: silenceId, untilMs } });
      return;
    }
    const all = await directory.read();
    const plan = planOf(explained.alert, command.level, all, zone.minuteOfDay(nowMs));
    const { level, recipients, nextAfterMs } = plan;
    // A deployment without people and endpoints has chosen that nobody is notified.
    const isUsed = all.people.length + all.endpoints.length > 0;
    this.#unreachable = isUsed ? plan.unreachable : [];
    this.#reachesNobody = isUsed && recipients.length === 0 && command.level === 0;
    const events = recipients.map(
      (recipient): NewEvent => ({
        id,
        key: recipient.key,
        kind: NOTIFY_EVENT,
        payload: { alert, level, recipient } satisfies NotifyEvent,
      }),
    );
    if (events.length > 0) await append(NOTIFICATIONS_TOPIC, events);
    const keys = recipients.map(({ key }) => key);
    const next = nextAfterMs === undefined ? {} : { nextMs: nowMs + nextAfterMs };
    await this.#answer(id, { ...found, level, recipients: keys, ...next });
  }

  async #change(id: string, recipients: readonly string[], payload: ChangedEvent): Promise<void> {
    const events = recipients.map((key): NewEvent => ({ id, key, kind: CHANGED_EVENT, payload }));
    if (events.length > 0) await this.#options.append(NOTIFICATIONS_TOPIC, events);
  }

  async #answer(id: string, { alert, ...answer }: Answer): Promise<void> {
    const payload: RoutedEvent = { alertId: alert.id, ...answer };
    await this.#options.append(ALERTS_TOPIC, [{ id, key: alertKeyOf(alert), kind: ROUTED_EVENT, payload }]);
  }

  /** The alert with what is known about its SKU. */
  async #explained({ alert, level }: RouteCommand): Promise<Explained> {
    const stock = alert.rule === "depletion" ? this.#options.stockOf(alert.subject) : undefined;
    if (!stock) return { alert };
    const { category, sellableUnits, safetyUnits, dailyAverage } = stock;
    const inboundUnits = await this.#options.inboundUnits(alert.subject);
    // At first as the alert states it; the view may not have the last deduction yet.
    const hourUnits = (level === 0 ? alert.figures.hourUnits : undefined) ?? stock.hourUnits;
    const outlook: StockOutlook = {
      ...{ sellableUnits, safetyUnits, inboundUnits },
      minutesLeft: minutesLeftOf(sellableUnits, hourUnits),
      suggestedUnits: suggestedUnitsOf({ sellableUnits, safetyUnits, inboundUnits, dailyAverage }) ?? null,
    };
    const facts = { outlook, locations: stock.locations, ...(category === undefined ? {} : { category }) };
    return { alert: { ...alert, ...facts }, ...facts };
  }
}

/** Minutes until nothing is sellable at the pace of an hour; null when none was sold in it. */
const minutesLeftOf = (sellableUnits: number, hourUnits: number): number | null =>
  hourUnits > 0 ? Math.max(0, Math.floor((sellableUnits * 60) / hourUnits)) : null;

/** With as many locations as are stored. */
function limited(explained: Explained): Explained {
  const locations = explained.locations?.slice(0, MAX_LOCATIONS);
  return locations ? { ...explained, locations, alert: { ...explained.alert, locations } } : explained;
}

type Explained = { alert: Alert } & Pick<RoutedEvent, "outlook" | "category" | "locations">;
type Answer = { alert: Alert } & Omit<RoutedEvent, "alertId">;
