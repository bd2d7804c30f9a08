/**
 * Forwards the emits of other topics to one event topic, by the routes of its definition. Several processes may do so
 * at once: each partition of each source has one owner, with a lease and a cursor of the sink `to-<target>`, so what
 * has not been forwarded is not deleted.
 */
import { type ForwarderOptions, type ForwarderStats, ForwarderTask } from "./forwarder-task.js";
import { partitionKeys, sinkKeys, workersKey } from "./keys.js";
import { LeasedLoop } from "./leased-loop.js";
import type { Route } from "./route.js";
import { Share } from "./share.js";
import { forwarderSink } from "./sinks.js";

export interface ForwardersOptions extends ForwarderOptions {
  /** Of each source: all topics of a deployment have the same number. */
  partitions: number;
  /** Names this process in leases. */
  owner: string;
}

/** Figures of one partition of one source. */
export interface ForwarderFigures extends ForwarderStats {
  readonly source: string;
  readonly target: string;
  readonly partition: number;
  readonly owned: boolean;
  readonly leaseChanges: number;
}

export class Forwarders {
  readonly #sources: readonly ForwardedSource[];

  constructor(options: ForwardersOptions) {
    const names = new Set(options.target.routes.map(({ from }) => from));
    this.#sources = [...names].map((source) => new ForwardedSource(source, options));
  }

  start(): void {
    for (const source of this.#sources) source.start();
  }

  /** Ends every forwarder after what is under way, and releases its leases. */
  async stop(): Promise<void> {
    await Promise.all(this.#sources.map((source) => source.stop()));
  }

  /** Figures of each partition of each source, in order. */
  stats(): ForwarderFigures[] {
    return this.#sources.flatMap((source) => source.stats());
  }

  /** Warnings for an operator, in words. */
  warnings(): string[] {
    return this.#sources.flatMap((source) => source.warnings());
  }
}

/** One source: its partitions, and this process's share of them. */
class ForwardedSource {
  readonly #source: string;
  readonly #target: string;
  readonly #share: Share;
  readonly #loops: readonly { readonly loop: LeasedLoop; readonly stats: ForwarderStats }[];

  constructor(source: string, options: ForwardersOptions) {
    const { target, prefix, partitions } = options;
    this.#source = source;
    this.#target = target.name;
    const sink = forwarderSink(target.name);
    this.#share = new Share({ ...options, key: workersKey(prefix, `${source}:${sink}`), partitions });
    const routes = target.routes.filter(({ from }) => from === source);
    this.#loops = Array.from({ length: partitions }, (_, partition) => this.#loopOf(partition, options, routes, sink));
  }

  start(): void {
    this.#share.start();
    for (const { loop } of this.#loops) loop.start();
  }

  async stop(): Promise<void> {
    await this.#share.leave();
    await Promise.all(this.#loops.map(({ loop }) => loop.stop()));
  }

  stats(): ForwarderFigures[] {
    return this.#loops.map(({ loop, stats }, partition) => ({
      source: this.#source,
      target: this.#target,
      partition,
      ...stats,
      owned: loop.isOwned,
      leaseChanges: loop.leaseChanges,
    }));
  }

  warnings(): string[] {
    const deadLetters = this.#loops.reduce((sum, { stats }) => sum + stats.deadLetters, 0);
    if (deadLetters === 0) return [];
    const emits = `${deadLetters} emits of ${this.#source} to ${this.#target}`;
    return [`${emits} could not be forwarded and became dead letters since the start`];
  }

  #loopOf(partition: number, options: ForwardersOptions, routes: readonly Route[], sink: string) {
    const { prefix } = options;
    const source = this.#source;
    const share = this.#share;
    const keys = {
      sink: sinkKeys(prefix, source, partition, sink),
      source: partitionKeys(prefix, source, partition),
    };
    const stats: ForwarderStats = { lagEntries: 0, behindMs: 0, forwarded: 0, deadLetters: 0 };
    const loop = new LeasedLoop({
      ...options,
      keys: keys.sink,
      partition,
      share,
      place: { topic: source, partition, sink },
      // Its owner reports them.
      away: () => Object.assign(stats, { lagEntries: 0, behindMs: 0 }),
      work: (lease, signal) =>
        new ForwarderTask(options, { source, partition, routes, sink, keys, share }, lease, stats, signal).run(),
    });
    return { loop, stats };
  }
}
