/**
 * Deliveries and figures of notifications as any serving process has them: what became of each message to a recipient,
 * by alert and by recipient, and counts by channel. Filled by the follower; reads nothing itself. It keeps as many
 * deliveries of a recipient as the job does.
 */
import type { DeliveryFunnel } from "../../alerting/notification.js";
import type { View } from "../../stream/follower.js";
import type { RecipientFigures, ViewedDelivery } from "./figures.js";
import { NOTIFICATIONS_JOB } from "./job.js";
import type { ChannelCounts } from "./state.js";

/** Figures of all recipients, since the deployment began unless a comment says otherwise. */
export interface NotificationFigures
  extends Pick<RecipientFigures, "climbs" | "unreached" | "unlisted" | "evicted" | "changesDropped"> {
  /** By channel. */
  readonly counts: ReadonlyMap<string, Readonly<ChannelCounts>>;
  /** Now: alerts, tests and changes that wait, by channel. */
  readonly waiting: ReadonlyMap<string, number>;
  /** Now: alerts that wait for the end of quiet hours, and open alerts; those of each recipient are counted. */
  readonly quiet: number;
  readonly openAlerts: number;
  readonly recipients: number;
}

interface Known {
  figures: RecipientFigures;
  readonly deliveries: Map<number, ViewedDelivery>;
}

export class NotificationsView implements View {
  readonly job = NOTIFICATIONS_JOB;
  readonly #recipients = new Map<string, Known>();
  /** By alert, the numbers of its deliveries by recipient. */
  readonly #byAlert = new Map<string, Map<string, Set<number>>>();
  #revision = 0;

  onView(key: string, value: unknown): void {
    const figures = value as RecipientFigures;
    const known = this.#recipients.get(key) ?? { figures, deliveries: new Map<number, ViewedDelivery>() };
    known.figures = figures;
    this.#recipients.set(key, known);
    for (const delivery of figures.deliveries) {
      this.#remove(key, known, delivery.number);
      known.deliveries.set(delivery.number, delivery);
      for (const alertId of delivery.alertIds) this.#index(alertId, key).add(delivery.number);
    }
    for (const number of [...known.deliveries.keys()])
      if (!isWithin(figures.kept, number)) this.#remove(key, known, number);
    this.#revision++;
  }

  onReset(isOf: (key: string) => boolean): void {
    for (const [key, known] of [...this.#recipients]) {
      if (!isOf(key)) continue;
      for (const number of [...known.deliveries.keys()]) this.#remove(key, known, number);
      this.#recipients.delete(key);
    }
    this.#revision++;
  }

  /** Changes with everything below. */
  get revision(): number {
    return this.#revision;
  }

  /** What became of an alert at each address, by recipient, in the order sent. Of a test: `test:<testId>`. */
  funnelsOf(alertId: string): readonly DeliveryFunnel[] {
    return [...(this.#byAlert.get(alertId) ?? [])].flatMap(([key, numbers]) =>
      [...numbers]
        .sort((a, b) => a - b)
        .map((number) => funnelOf(key, alertId, this.#recipients.get(key)?.deliveries.get(number) as ViewedDelivery)),
    );
  }

  /** The newest deliveries of a recipient, the newest first; one entry for each alert in a message. */
  funnelsTo(recipient: string, limit: number): readonly DeliveryFunnel[] {
    const newest = [...(this.#recipients.get(recipient)?.deliveries.values() ?? [])]
      .sort((a, b) => b.number - a.number)
      .slice(0, limit);
    return newest.flatMap((each) => each.alertIds.map((alertId) => funnelOf(recipient, alertId, each))).slice(0, limit);
  }

  figures(): NotificationFigures {
    const counts = new Map<string, ChannelCounts>();
    const waiting = new Map<string, number>();
    const sums = { climbs: 0, unreached: 0, unlisted: 0, evicted: 0, changesDropped: 0, quiet: 0, openAlerts: 0 };
    for (const { figures } of this.#recipients.values()) {
      for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += figures[name];
      for (const [channel, each] of Object.entries(figures.waiting))
        waiting.set(channel, (waiting.get(channel) ?? 0) + each);
      for (const [channel, each] of Object.entries(figures.counts))
        counts.set(channel, sumOf(counts.get(channel), each));
    }
    return { ...sums, counts, waiting, recipients: this.#recipients.size };
  }

  #index(alertId: string, key: string): Set<number> {
    const byRecipient = this.#byAlert.get(alertId) ?? new Map<string, Set<number>>();
    this.#byAlert.set(alertId, byRecipient);
    const numbers = byRecipient.get(key) ?? new Set<number>();
    byRecipient.set(key, numbers);
    return numbers;
  }

  #remove(key: string, { deliveries }: Known, number: number): void {
    const delivery = deliveries.get(number);
    if (!delivery) return;
    deliveries.delete(number);
    for (const alertId of delivery.alertIds) {
      const byRecipient = this.#byAlert.get(alertId);
      const numbers = byRecipient?.get(key);
      numbers?.delete(number);
      if (numbers?.size === 0) byRecipient?.delete(key);
      if (byRecipient?.size === 0) this.#byAlert.delete(alertId);
    }
  }
}

/** @param ranges first, last, first, last, …, ascending */
function isWithin(ranges: readonly number[], number: number): boolean {
  for (let i = 0; i < ranges.length; i += 2)
    if (number <= (ranges[i + 1] as number)) return number >= (ranges[i] as number);
  return false;
}

function funnelOf(recipient: string, alertId: string, delivery: ViewedDelivery): DeliveryFunnel {
  const { number, channel, to, sentMs, acceptedMs, displayedMs, failure } = delivery;
  return {
    ...{ alertId, recipient, channel, to, messageId: `${recipient}/${number}`, sentMs },
    ...(acceptedMs !== undefined && { acceptedMs }),
    ...(displayedMs !== undefined && { displayedMs }),
    ...(failure !== undefined && { failure }),
  };
}

function sumOf(sum: ChannelCounts | undefined, each: ChannelCounts): ChannelCounts {
  const total = { ...each };
  if (sum) for (const name of Object.keys(total) as (keyof ChannelCounts)[]) total[name] += sum[name];
  return total;
}
