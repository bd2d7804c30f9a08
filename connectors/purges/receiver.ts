/**
 * Purges as the receiver of a sink: it takes over each change of a SKU's availability and is done, so that a CDN that
 * is slow or down holds up nothing and leaves no dead letters. What was taken over and not sent is lost when the
 * process dies: its copies would end before another process has the lease.
 */
import { AVAILABILITY_EMIT, type AvailabilityChange } from "../../engine/jobs/storefront/job.js";
import type { Clock } from "../../engine/kernel/clock.js";
import type { Delivery, DeliveryOutcome, Receiver } from "../../engine/outbox/receiver.js";
import type { PurgeDispatcher } from "./dispatcher.js";
import { tagOf } from "./tag.js";

export interface PurgeReceiverOptions {
  /** The vendor, which is the sink. */
  readonly name: string;
  /** One for each CDN of the vendor. */
  readonly dispatchers: readonly Pick<PurgeDispatcher, "add">[];
  readonly publicUrl: string;
  /** The shop's, by which changes are dated. */
  readonly clock: Clock;
}

const DONE: DeliveryOutcome = { outcome: "done", isUnsent: true };

export class PurgeReceiver implements Receiver {
  readonly name: string;
  readonly isShortLived = true;
  /** No request of anybody: as many as are there at once. */
  readonly batch = { deliveries: 1_000 };
  readonly #options: PurgeReceiverOptions;

  constructor(options: PurgeReceiverOptions) {
    this.name = options.name;
    this.#options = options;
  }

  wants(kind: string): boolean {
    return kind === AVAILABILITY_EMIT;
  }

  async deliver({ key: sku, atMs, payload }: Delivery): Promise<DeliveryOutcome> {
    const { dispatchers, publicUrl, clock } = this.#options;
    const { available } = payload as AvailabilityChange;
    const target = { sku, tag: tagOf(sku), url: `${publicUrl}/v1/stock/${encodeURIComponent(sku)}` };
    for (const dispatcher of dispatchers) dispatcher.add(target, !available, clock.now() - atMs);
    return DONE;
  }

  async deliverBatch(deliveries: readonly Delivery[]): Promise<readonly DeliveryOutcome[]> {
    return Promise.all(deliveries.map((delivery) => this.deliver(delivery)));
  }
}
