/**
 * The data of the screens, read from the jobs' views: implements the sources of the product's feeds, which do not
 * depend on jobs or ledger. Rates are means over the last five seconds of real time. Everything is read from memory;
 * only the open breakers are read from Redis, once a second.
 */
import type { AlertBody } from "../../dashboards/feeds/alerts.js";
import type { BreakerBody } from "../../dashboards/feeds/breakers.js";
import type { ConsistencyBody } from "../../dashboards/feeds/consistency.js";
import type { EngineBody } from "../../dashboards/feeds/engine.js";
import type { FeedSources } from "../../dashboards/feeds/index.js";
import type { SkuLive, StockLevels } from "../../dashboards/feeds/stock-heat/feed.js";
import type { AlertList } from "../jobs/alerts/alert-list.js";
import type { ConsistencyView } from "../jobs/consistency/view.js";
import type { DepletionView } from "../jobs/depletion/view.js";
import type { StorefrontView } from "../jobs/storefront/view.js";
import type { Clock } from "../kernel/clock.js";
import { breakerKey } from "../stock/breaker.js";
import type { Ledger } from "../stock/ledger.js";
import type { Follower } from "../stream/follower.js";
import type { LogEvent } from "../stream/job.js";
import { minuteOf } from "../stream/window.js";
import type { Worker } from "../stream/worker.js";
import { consistencyBody } from "./live-consistency.js";

export interface LiveSourceParts {
  ledger: Ledger;
  /** The jobs of this process, if it runs any. */
  worker: Worker<LogEvent> | undefined;
  follower: Follower<LogEvent>;
  depletionView: DepletionView;
  storefrontView: StorefrontView;
  consistencyView: ConsistencyView;
  /** Of all rules. */
  alertList: Pick<AlertList, "open" | "cleared">;
  /** The divergence above which the shop's breaker opens, from 0 to 1. */
  shopThreshold: number;
  /** The shop's time. */
  clock: Clock;
  /** Real time. */
  wall: Clock;
  /** IANA name of the shop's time zone. */
  zone: string;
  speed(): number;
  scene(): string | undefined;
}

interface Sample {
  atMs: number;
  commands: number;
  events: number;
}

const SAMPLE_MS = 500;
const RATE_SAMPLES = 10;
const BREAKERS_EVERY_SAMPLES = 2;
const NO_STOCK: StockLevels = { sellable: 0, reserved: 0, committed: 0, safety: 0, presale: 0, display: 0 };

export class EngineLiveSource implements FeedSources {
  readonly #parts: LiveSourceParts;
  readonly #samples: Sample[] = [];
  #breakers: BreakerBody[] = [];
  #samplesTaken = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: LiveSourceParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#sample();
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  engine(): EngineBody {
    const { clock, follower, zone, speed, scene } = this.#parts;
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    const seconds = first && last ? (last.atMs - first.atMs) / 1_000 : 0;
    const rate = (of: "commands" | "events") =>
      first && last && seconds > 0 ? Math.round((last[of] - first[of]) / seconds) : 0;
    return {
      zone,
      nowMs: clock.now(),
      speed: speed(),
      commandsPerSecond: rate("commands"),
      eventsPerSecond: rate("events"),
      lagEntries: follower.lagEntries(),
      lagMs: follower.oldestAgeMs(),
      scene: scene() ?? null,
    };
  }

  breakers(): readonly BreakerBody[] {
    return this.#breakers;
  }

  consistency(): ConsistencyBody {
    const { consistencyView, shopThreshold } = this.#parts;
    return consistencyBody(consistencyView, shopThreshold);
  }

  nowMs(): number {
    return this.#parts.clock.now();
  }

  ranked(limit: number): readonly SkuLive[] {
    const minute = minuteOf(this.#parts.clock.now());
    const hours = [...this.#parts.depletionView.hours(minute)];
    hours.sort((a, b) => b.hourUnits - a.hourUnits || (a.sku < b.sku ? -1 : 1));
    return hours.slice(0, limit).map(({ sku, hourUnits }) => this.#skuLive(sku, hourUnits));
  }

  sku(sku: string): SkuLive | undefined {
    const { depletionView, storefrontView, clock } = this.#parts;
    return storefrontView.get(sku) && this.#skuLive(sku, depletionView.hourUnits(sku, minuteOf(clock.now())));
  }

  panes(sku: string, sinceMinute: number): [minute: number, units: number][] {
    const flat = this.#parts.depletionView.panes(sku, sinceMinute);
    const panes: [number, number][] = [];
    for (let i = 0; i < flat.length; i += 2) panes.push([flat[i] as number, flat[i + 1] as number]);
    return panes;
  }

  alertedSkus(limit: number): readonly string[] {
    const open = this.#parts.depletionView.openAlerts();
    return open.slice(0, limit).map(({ sku }) => sku);
  }

  alerts(limit: number): readonly AlertBody[] {
    const { alertList } = this.#parts;
    return [...alertList.open(), ...alertList.cleared()].slice(0, limit).map(({ alert }) => {
      const { id, rule, subject, severity, state, firedMs, clearedMs, acknowledgedBy, figures } = alert;
      return {
        ...{ id, rule, subject, severity, sku: subject, state },
        firedAtMs: firedMs,
        clearedAtMs: clearedMs ?? null,
        acknowledgedBy: acknowledgedBy ?? null,
        hourUnits: figures.hourUnits ?? 0,
        dailyAverage: figures.dailyAverage ?? null,
      };
    });
  }

  #skuLive(sku: string, hourUnits: number): SkuLive {
    const { depletionView, storefrontView } = this.#parts;
    const known = storefrontView.get(sku);
    return {
      sku,
      revision: depletionView.revision(sku) + (known?.revision ?? 0),
      hourUnits,
      dailyAverage: depletionView.dailyAverage(sku),
      levels: known?.total ?? NO_STOCK,
    };
  }

  #sample(): void {
    const { wall, ledger, worker } = this.#parts;
    const events = worker?.stats().reduce((sum, partition) => sum + partition.events, 0) ?? 0;
    this.#samples.push({ atMs: wall.now(), commands: ledger.commands, events });
    if (this.#samples.length > RATE_SAMPLES + 1) this.#samples.shift();
    if (this.#samplesTaken++ % BREAKERS_EVERY_SAMPLES === 0) void this.#readBreakers();
  }

  async #readBreakers(): Promise<void> {
    try {
      const open = await this.#parts.ledger.openBreakers();
      this.#breakers = open.map(
        ({ scope, state, untilMs, atEnd = "close" as const, actor, reason, evidence, missing }) => ({
          scope: breakerKey(scope),
          state,
          untilMs: untilMs === 0 ? null : untilMs,
          atEnd,
          actor,
          reason,
          ...(evidence && { evidence }),
          ...(missing && { missing }),
        }),
      );
    } catch {
      // Redis does not answer: the screens keep the last breakers and show the lag.
    }
  }
}
