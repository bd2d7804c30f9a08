/**
 * A steady load on a running engine while servers die, move and return: a few callers for each partition, each
 * sending one command after the other and the same one again until it is answered, and keeping its own record of
 * the answers. The check at the end uses only the logs: every balance and every job's state must follow from them, the
 * views must show the same, and every answered command must be in them. Several callers a partition, because one that
 * waits for a dead primary must not keep the others' partitions waiting.
 */
import { expect } from "vitest";
import type { Engine } from "../../engine/app/engine.js";
import type { EngineSettings } from "../../engine/app/engine-settings.js";
import { stockJobs } from "../../engine/jobs/index.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { sleep, stopwatch, systemClock } from "../../engine/kernel/clock.js";
import { EngineError } from "../../engine/kernel/errors.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import {
  cellOf,
  EVENT_TYPES,
  isAccepted,
  POOLS,
  type StockCommand,
  type StockEvent,
} from "../../engine/stock/model.js";
import { stockTopic } from "../../engine/stock/topic.js";
import { stockKeys } from "../../engine/stream/keys.js";
import type { TestEngines } from "../app/engine-builder.js";
import { refold } from "../jobs/refold.js";
import { until } from "../redis/server.js";

export const PARTITIONS = 8;
const SKUS_EACH = 4;
const CALLERS_EACH = 2;
const LOCATION = "SH";
const ZONE = "UTC";
const OPENING_UNITS = 1_000_000;
const RESEND_PAUSE_MS = 20;

/** An engine with everything in it, on servers that the test has started. */
export const engineOn = (
  engines: TestEngines,
  redisUrl: string,
  prefix: string,
  troubles: string[],
  more: Partial<EngineSettings> = {},
): Promise<Engine> =>
  engines.start({
    redisUrl,
    prefix,
    partitions: PARTITIONS,
    appendfsync: "no",
    retentionMs: 0,
    zone: ZONE,
    onTrouble: (message) => troubles.push(message),
    ...more,
  });

interface Answered {
  partition: number;
  event: string;
  atMs: number;
}

export class Load {
  /** Commands that were answered, in the order of their answers. */
  readonly answers: Answered[] = [];
  /** Accepted commands by the event that must report them. */
  readonly accepted = new Map<string, Answered>();
  sent = 0;
  resent = 0;
  /** What resending was for, by the error's code. */
  readonly refusals = new Map<string, number>();
  readonly #engine: Engine;
  readonly #elapsedMs = stopwatch();
  readonly #lastMs = new Array<number>(PARTITIONS).fill(0);
  readonly #longestMs = new Array<number>(PARTITIONS).fill(0);
  readonly #skus: string[][] = Array.from({ length: PARTITIONS }, () => []);
  #stopped = false;
  #callers: Promise<void>[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
    for (let n = 0; this.#skus.some((skus) => skus.length < SKUS_EACH); n++) {
      const skus = this.#skus[engine.stock.ledger.partitionOf(`SKU-${n}`)] as string[];
      if (skus.length < SKUS_EACH) skus.push(`SKU-${n}`);
    }
  }

  /** Puts units on every shelf, and starts the callers. */
  async start(): Promise<void> {
    for (const sku of this.#skus.flat()) {
      const id = chainId("RC", systemClock.now());
      await this.#untilAnswered({ kind: "receive", id, sku, location: LOCATION, units: OPENING_UNITS });
    }
    this.#lastMs.fill(this.#elapsedMs());
    this.#longestMs.fill(0);
    this.#callers = this.#skus.flatMap((skus, partition) =>
      Array.from({ length: CALLERS_EACH }, (_, caller) => this.#call(skus, partition * CALLERS_EACH + caller)),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#callers);
  }

  /** The longest time in which some of these partitions answered nothing, until now. */
  longestPauseMs(partitions: readonly number[]): number {
    const nowMs = this.#elapsedMs();
    return Math.max(
      ...partitions.map((p) => Math.max(this.#longestMs[p] as number, nowMs - (this.#lastMs[p] as number))),
    );
  }

  /** How many answers these partitions have given. */
  answered(partitions: readonly number[]): number {
    return this.answers.reduce((sum, { partition }) => sum + (partitions.includes(partition) ? 1 : 0), 0);
  }

  /** Waits until each of these partitions answers again. */
  async flows(partitions: readonly number[]): Promise<void> {
    for (const partition of partitions) {
      const before = this.answered([partition]);
      await until(() => this.answered([partition]) > before + CALLERS_EACH, `partition ${partition} to answer`);
    }
  }

  async #call(skus: readonly string[], seed: number): Promise<void> {
    const random = seededRandom(seed);
    while (!this.#stopped) {
      const line = { id: chainId("LD", systemClock.now()), sku: random.pick(skus), location: LOCATION, units: 1 };
      await this.#untilAnswered({ kind: "reserve", ...line });
      const next = random.pick(["pay", "cancel", "leave"] as const);
      if (next !== "leave") await this.#untilAnswered({ kind: next, ...line });
    }
  }

  async #untilAnswered(command: StockCommand): Promise<void> {
    this.sent++;
    for (;;) {
      try {
        const { outcome } = await this.#engine.stock.ledger.apply(command);
        const partition = this.#engine.stock.ledger.partitionOf(command.sku);
        const nowMs = this.#elapsedMs();
        this.#longestMs[partition] = Math.max(
          this.#longestMs[partition] as number,
          nowMs - (this.#lastMs[partition] as number),
        );
        this.#lastMs[partition] = nowMs;
        const event = eventName(EVENT_TYPES[command.kind], command.id);
        const answered = { partition, event, atMs: nowMs };
        this.answers.push(answered);
        if (isAccepted(outcome)) this.accepted.set(event, answered);
        return;
      } catch (thrown) {
        if (!(thrown instanceof EngineError) || !thrown.retryable) throw thrown;
        this.resent++;
        this.refusals.set(thrown.code, (this.refusals.get(thrown.code) ?? 0) + 1);
        await sleep(RESEND_PAUSE_MS);
      }
    }
  }
}

const eventName = (type: string, id: string): string => `${type} ${id}`;

export interface LogComparison {
  events: number;
  /** Answered and accepted, and not in any log. */
  lost: Answered[];
  /** In a log more than once. */
  doubled: string[];
}

/** Waits for jobs and views to catch up, then compares everything with the logs. */
export async function compareWithLogs(engine: Engine, load: Load): Promise<LogComparison> {
  const { redis, settings } = engine;
  const { ledger, storefrontView } = engine.stock;
  const { follower } = engine.topic("stock");
  const askedMs = systemClock.now();
  await until(() => follower.asOf() > askedMs && follower.lagEntries() === 0, "jobs and views to catch up");
  const topic = stockTopic(ledger);
  const jobs = stockJobs(zoneOf(ZONE));
  const tally = new Map<string, number>();
  let events = 0;
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const keys = stockKeys(settings.prefix, partition);
    // Ticks go on and add entries that change nothing; what is compared is the state at this offset.
    const end = Number(await redis.hget(keys.head, "offset"));
    const count = ({ type, id }: StockEvent): void => {
      events++;
      const name = eventName(type, id);
      tally.set(name, (tally.get(name) ?? 0) + 1);
    };
    const { audit, states } = await refold(redis, keys.log, topic, jobs, count, end);
    for await (const { sku, location, balances } of ledger.cells(partition)) {
      expect(balances, `${sku} by the log of partition ${partition}`).toEqual(audit.cells.get(cellOf(sku, location)));
      for (const pool of POOLS)
        expect(storefrontView.get(sku)?.total[pool], `${pool} of ${sku} as shown`).toBe(balances[pool]);
    }
    for (const { name } of jobs) {
      const found = await redis.hgetallBuffer(keys.state(name));
      const hex = (all: Iterable<[string, Buffer]>) =>
        [...all].map(([key, state]) => [key, state.toString("hex")]).sort();
      expect(hex(Object.entries(found)), `${name} of partition ${partition}`).toEqual(hex(states.get(name) ?? []));
    }
  }
  const lost = [...load.accepted.values()].filter(({ event }) => !tally.has(event));
  const doubled = [...tally].filter(([, times]) => times > 1).map(([event]) => event);
  return { events, lost, doubled };
}

/** `1,234` */
export const figure = (n: number): string => n.toLocaleString("en-US");
/** `2.3 s` */
export const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
