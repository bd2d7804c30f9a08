/**
 * What is known of buyers goes: by itself some time after an order's end (or soon, for an order that is never paid),
 * and at once when somebody asks for it. It is in the order book, in the object storage, and perhaps in dead letters
 * of a deployment of format 1; stock, lines and steps name no buyer and stay. Everything here may be repeated: an
 * order stays in the book's list until nothing is left anywhere. Not reached: what the WMS has, older versions that a
 * bucket keeps, and Redis' append-only file until it is rewritten.
 */
import type { ObjectStore } from "../../connectors/objects/index.js";
import { detailKey, WMS_SINK } from "../../connectors/wms/index.js";
import { PICK_EMIT } from "../jobs/order-flow/job.js";
import { MINUTE_MS, type Scheduler } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { EraseOutcome } from "../orders/erasures.js";
import type { OrderStore } from "../orders/order-store.js";
import { emitOf } from "../outbox/delivery-dead-letter.js";
import { listDeadLetters, readDeadLetters, removeDeadLetters, type StoredDeadLetter } from "../stream/dead-letter.js";
import { type PartitionKeys, partitionKeys, sinkKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";

export interface PersonalDataOptions {
  orderStore: OrderStore;
  redis: RedisClient;
  prefix: string;
  /** Left out: this process reaches no object storage; one that does removes what is there. */
  objects?: Pick<ObjectStore, "delete">;
  /**
   * By which a process that reaches the object storage looks after all partitions, whoever works on them; left out:
   * it does not.
   */
  clock?: Scheduler;
  onTrouble: OnTrouble;
}

/** Orders of one look, and looks of one sweep: 1,000 orders a second and partition, in some tens of calls. */
const SLICE = 100;
const SLICES = 10;
/** Requests to the object storage at once. */
const DELETES_AT_ONCE = 8;
const LETTERS_A_PAGE = 1_000;
/** How often a process that reaches the object storage looks. */
const LOOK_EVERY_MS = MINUTE_MS;
/**
 * For so long a process that does not leaves to others what is due, where there is a warehouse; it is due again an
 * hour after that.
 */
const LEFT_TO_OTHERS_MS = 10 * MINUTE_MS;
/** How a kept record names the buyer. */
const BUYER_FIELD = "shipTo";

export class PersonalData {
  readonly #options: PersonalDataOptions;
  /** By partition: the sweep under way. */
  readonly #sweeps = new Map<number, Promise<void>>();
  readonly #stop = new AbortController();
  #looking: Promise<void> | undefined;
  #hasToldOfObjects = false;

  constructor(options: PersonalDataOptions) {
    this.#options = options;
  }

  /**
   * Takes away what is known of an order's buyer. An object that this process does not reach goes with the next sweep
   * of one that does.
   * @throws EngineError what the stores say: to be asked for again
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
        // It is written down, so the next sweep goes on with it; the caller may ask again, whatever has to be mended
        // first.
        const detail = { op: "orders.erase", code: "unavailable", retryable: true, place: id };
        throw new EngineError(`the object storage has not taken it away: ${messageOf(thrown)}`, detail, {
          cause: thrown,
        });
      }
      await orderStore.erasures.confirm(partition, [id]);
    }
    return "erased";
  }

  /** Begins to look after the partitions that processes without the object storage work on. */
  start(): void {
    const { objects, clock } = this.#options;
    if (objects && clock) this.#looking ??= this.#look(clock);
  }

  /**
   * Begins to take away what is due in a partition, or goes on with that. Resolves when that has ended; never
   * rejects.
   */
  readonly sweep = (partition: number): Promise<void> => {
    const underWay = this.#sweeps.get(partition);
    if (this.#stop.signal.aborted || underWay) return underWay ?? Promise.resolve();
    const sweeping = this.#sweep(partition)
      .catch((thrown: unknown) => this.#tell(partition, messageOf(thrown)))
      .finally(() => this.#sweeps.delete(partition));
    this.#sweeps.set(partition, sweeping);
    return sweeping;
  };

  /** Ends after what is under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#looking, ...this.#sweeps.values()]);
  }

  async #look(clock: Scheduler): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await clock.sleep(LOOK_EVERY_MS, signal);
      for (let partition = 0; partition < this.#options.orderStore.partitions; partition++) await this.sweep(partition);
    }
  }

  async #sweep(partition: number): Promise<void> {
    const { orderStore, objects } = this.#options;
    // An order may have an object that is not reached from here: then what Redis holds goes, and the order stays in
    // the list.
    const isBlind = !objects && (await orderStore.waiting.readHasWarehouse(partition));
    for (let slice = 0; slice < SLICES && !this.#stop.signal.aborted; slice++) {
      const ids = await orderStore.erasures.due(partition, SLICE, isBlind ? LEFT_TO_OTHERS_MS : 0);
      if (ids.length === 0) return;
      const outcomes = await orderStore.erasures.erase(partition, ids, true);
      // An order that is not remembered any more may have left an object.
      const gone = ids.filter((_, i) => outcomes[i] === "erased" || outcomes[i] === "unknown");
      if (isBlind) {
        if (!this.#hasToldOfObjects)
          this.#tell(partition, "its object is left until a process with --wms-url reaches the object storage");
        this.#hasToldOfObjects = true;
        continue;
      }
      for (let from = 0; from < gone.length; from += DELETES_AT_ONCE) {
        const part = gone.slice(from, from + DELETES_AT_ONCE);
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
      // It comes up again.
      this.#tell(partition, messageOf(thrown), id);
      return false;
    }
  }

  #tell(partition: number, reason: string, order?: string): void {
    const place = { topic: "orders", partition, ...(order === undefined ? {} : { order }) };
    this.#options.onTrouble(`what is known of a buyer could not be taken away: ${reason}`, place);
  }

  /**
   * Letters about what the order's buyer is in. None of them is of use any more: the order is not on its way to the
   * warehouse.
   */
  async #removeDeadLetters(keys: PartitionKeys, id: string): Promise<void> {
    const { redis } = this.#options;
    let after = "-";
    for (;;) {
      const page = await listDeadLetters(redis, keys, after, LETTERS_A_PAGE);
      const own = page.filter(({ key }) => key === id).map((deadLetter) => deadLetter.id);
      if (own.length > 0) {
        const found = (await readDeadLetters(redis, keys, own)).filter(mayNameBuyer).map((deadLetter) => deadLetter.id);
        if (found.length > 0) await removeDeadLetters(redis, keys, found);
      }
      const last = page.at(-1);
      if (last === undefined || page.length < LETTERS_A_PAGE) return;
      after = last.id;
    }
  }
}

/** A pick request's letter may also quote what the warehouse said to it. */
const mayNameBuyer = (deadLetter: StoredDeadLetter): boolean =>
  emitOf(deadLetter)?.kind === PICK_EMIT || deadLetter.fields.some((value) => value.includes(BUYER_FIELD));
