/**
 * Erases personal data of buyers: automatically some time after an order's end (or soon, for an order that is never
 * paid), and at once on request. The data is in the order store, in the object storage, and in dead letters of a
 * deployment of format 1; stock, lines and steps name no buyer and stay. Every call may be repeated: an order stays in
 * the store's list until nothing is left. Not erased: what the WMS has, older versions that a bucket keeps, and Redis'
 * append-only file until it is rewritten.
 */
import type { ObjectStore } from "../../connectors/objects/index.js";
import { detailKey, WMS_SINK } from "../../connectors/wms/index.js";
import { PICK_EMIT } from "../jobs/order-flow/job.js";
import { MINUTE_MS, type Scheduler } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { EraseOutcome } from "../orders/erasures.js";
import type { OrderStore } from "../orders/order-store.js";
import { listDeadLetters, readDeadLetters, removeDeadLetters, type StoredDeadLetter } from "../stream/dead-letter.js";
import { emitOf } from "../stream/emit-dead-letter.js";
import { type PartitionKeys, partitionKeys, sinkKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";

export interface PersonalDataOptions {
  orderStore: OrderStore;
  redis: RedisClient;
  prefix: string;
  /** Left out: this process has no object storage; another one removes the objects. */
  objects?: Pick<ObjectStore, "delete">;
  /** For the regular sweeps of all partitions by a process with the object storage; left out: no such sweeps. */
  clock?: Scheduler;
  onTrouble: OnTrouble;
}

/** Orders in a slice, and slices in a sweep: 1,000 orders a second and partition, in some tens of calls. */
const SLICE = 100;
const SLICES = 10;
/** Requests to the object storage at once. */
const DELETES_AT_ONCE = 8;
const DEAD_LETTERS_A_PAGE = 1_000;
/** How often a process with the object storage sweeps all partitions. */
const SWEEP_EVERY_MS = MINUTE_MS;
/**
 * How long a process without the object storage leaves due orders to others, where there is a warehouse; they are
 * due again an hour after that.
 */
const LEFT_TO_OTHERS_MS = 10 * MINUTE_MS;
/** The field of a stored record that names the buyer. */
const BUYER_FIELD = "shipTo";

export class PersonalData {
  readonly #options: PersonalDataOptions;
  /** By partition: the sweep under way. */
  readonly #sweeps = new Map<number, Promise<void>>();
  readonly #stop = new AbortController();
  #sweepingAll: Promise<void> | undefined;
  #hasReportedObjects = false;

  constructor(options: PersonalDataOptions) {
    this.#options = options;
  }

  /**
   * Erases the personal data of an order's buyer. An object that this process cannot reach is removed by the next
   * sweep of a process that can.
   * @throws EngineError of the stores: the call can be repeated
   */
  async erase(id: string): Promise<EraseOutcome> {
    const { orderStore, prefix, objects } = this.#options;
    const partition = orderStore.partitionOf(id);
    const [outcome] = await orderStore.erasures.erase(partition, [id], false);
    if (outcome !== "erased") return outcome as EraseOutcome;
    await this.#removeDeadLetters(partitionKeys(prefix, "orders", partition), id);
    await this.#removeDeadLetters(sinkKeys(prefix, "orders", partition, WMS_SINK), id);
    if (objects) {
      try {
        await objects.delete(detailKey(id));
      } catch (thrown) {
        // The order stays in the list, so the next sweep tries again; the caller may repeat the call as well.
        const detail = { op: "orders.erase", code: "unavailable", retryable: true, place: id };
        throw new EngineError(`the object storage did not delete the object: ${messageOf(thrown)}`, detail, {
          cause: thrown,
        });
      }
      await orderStore.erasures.confirm(partition, [id]);
    }
    return "erased";
  }

  /** Begins the regular sweeps, for partitions whose worker has no object storage. */
  start(): void {
    const { objects, clock } = this.#options;
    if (objects && clock) this.#sweepingAll ??= this.#sweepAll(clock);
  }

  /**
   * Erases what is due in a partition, or waits for the sweep under way. Resolves at its end; never rejects.
   */
  readonly sweep = (partition: number): Promise<void> => {
    const underWay = this.#sweeps.get(partition);
    if (this.#stop.signal.aborted || underWay) return underWay ?? Promise.resolve();
    const sweeping = this.#sweep(partition)
      .catch((thrown: unknown) => this.#report(partition, messageOf(thrown)))
      .finally(() => this.#sweeps.delete(partition));
    this.#sweeps.set(partition, sweeping);
    return sweeping;
  };

  /** Stops after the sweeps under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#sweepingAll, ...this.#sweeps.values()]);
  }

  async #sweepAll(clock: Scheduler): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await clock.sleep(SWEEP_EVERY_MS, signal);
      for (let partition = 0; partition < this.#options.orderStore.partitions; partition++) await this.sweep(partition);
    }
  }

  async #sweep(partition: number): Promise<void> {
    const { orderStore, objects } = this.#options;
    // An order may have an object that cannot be reached from here: then only the data in Redis is erased, and the
    // order stays in the list.
    const lacksObjects = !objects && (await orderStore.waiting.readHasWarehouse(partition));
    for (let slice = 0; slice < SLICES && !this.#stop.signal.aborted; slice++) {
      const ids = await orderStore.erasures.due(partition, SLICE, lacksObjects ? LEFT_TO_OTHERS_MS : 0);
      if (ids.length === 0) return;
      const outcomes = await orderStore.erasures.erase(partition, ids, true);
      // An order that is not stored any more may have left an object.
      const erased = ids.filter((_, i) => outcomes[i] === "erased" || outcomes[i] === "unknown");
      if (lacksObjects) {
        if (!this.#hasReportedObjects)
          this.#report(partition, "its object stays until a process with --wms-url deletes it from the object storage");
        this.#hasReportedObjects = true;
        continue;
      }
      for (let from = 0; from < erased.length; from += DELETES_AT_ONCE) {
        const part = erased.slice(from, from + DELETES_AT_ONCE);
        const isDeleted = await Promise.all(part.map((id) => this.#deleteObject(partition, id)));
        await orderStore.erasures.confirm(
          partition,
          part.filter((_, i) => isDeleted[i]),
        );
      }
    }
  }

  async #deleteObject(partition: number, id: string): Promise<boolean> {
    try {
      await this.#options.objects?.delete(detailKey(id));
      return true;
    } catch (thrown) {
      // The order stays in the list.
      this.#report(partition, messageOf(thrown), id);
      return false;
    }
  }

  #report(partition: number, reason: string, order?: string): void {
    const place = { topic: "orders", partition, ...(order === undefined ? {} : { order }) };
    this.#options.onTrouble(`personal data of a buyer could not be erased: ${reason}`, place);
  }

  /** Removes dead letters that name the buyer. They are not needed: the order is not on its way to the warehouse. */
  async #removeDeadLetters(keys: PartitionKeys, id: string): Promise<void> {
    const { redis } = this.#options;
    let after = "-";
    for (;;) {
      const page = await listDeadLetters(redis, keys, after, DEAD_LETTERS_A_PAGE);
      const own = page.filter(({ key }) => key === id).map((deadLetter) => deadLetter.id);
      if (own.length > 0) {
        const found = (await readDeadLetters(redis, keys, own)).filter(mayNameBuyer).map((deadLetter) => deadLetter.id);
        if (found.length > 0) await removeDeadLetters(redis, keys, found);
      }
      const last = page.at(-1);
      if (last === undefined || page.length < DEAD_LETTERS_A_PAGE) return;
      after = last.id;
    }
  }
}

/** The dead letter of a pick request may also quote the warehouse's answer. */
const mayNameBuyer = (deadLetter: StoredDeadLetter): boolean =>
  emitOf(deadLetter)?.kind === PICK_EMIT || deadLetter.fields.some((value) => value.includes(BUYER_FIELD));
