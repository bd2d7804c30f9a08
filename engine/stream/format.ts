/**
 * The format of what a deployment writes: logs, records of lines and orders, emits, states. It is a number in the deployment's hash, so that old and
 * new processes may run at once: as long as it is that of the previous release, nothing is written that the previous release cannot read or would
 * misread, and `shuiwei upgrade --finish` raises it when every process is new. It never goes back. Programs read every format up to their own; they
 * refuse a deployment of a later one. Format 1 has no such field: it is what releases before this number wrote.
 */
import { type Scheduler, stopwatch } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import { deploymentKey } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** 2 (2026-11-28): the first number. What it allows is said where it is asked for. */
export const LATEST_FORMAT = 2;
/** Of a deployment whose hash has no such field. */
const FIRST_FORMAT = 1;
const FIELD = "format";

/** How soon a process writes in the format that its operator has raised the deployment to. */
const LOOK_EVERY_MS = 1_000;

/** The format of a deployment that exists. */
export async function readFormat(redis: RedisClient, prefix: string): Promise<number> {
  return Number((await redis.hget(deploymentKey(prefix), FIELD)) ?? FIRST_FORMAT);
}

/** Sets the format of a deployment that was just created, or that every process can read in a later one. */
export async function writeFormat(redis: RedisClient, prefix: string, format: number): Promise<void> {
  await redis.hset(deploymentKey(prefix), FIELD, format);
}

/** @throws EngineError `format_too_new` when the deployment's format is later than this program's */
export function checkFormat(format: number): void {
  if (format <= LATEST_FORMAT) return;
  throw new EngineError(
    `this deployment was made by a newer release: its format is ${format}, and this program reads up to ${LATEST_FORMAT}`,
    { op: "deployment.claim", code: "format_too_new", retryable: false, place: FIELD },
  );
}

export interface FormatWatchOptions {
  redis: RedisClient;
  prefix: string;
  /** As it was read at the start. */
  format: number;
  clock: Scheduler;
  onTrouble(message: string): void;
}

/** Keeps the deployment's format as this process knows it: looked up about once a second until it is the latest. */
export class FormatWatch {
  readonly #options: FormatWatchOptions;
  readonly #stop = new AbortController();
  #format: number;
  #running: Promise<void> | undefined;

  constructor(options: FormatWatchOptions) {
    this.#options = options;
    this.#format = options.format;
  }

  /** What may be written now. A later read never gives less. */
  readonly current = (): number => Math.min(this.#format, LATEST_FORMAT);

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Why this process must not go on, in words; empty: it may. */
  wrong(): string[] {
    return this.#format > LATEST_FORMAT
      ? [`the deployment has been raised to format ${this.#format}, which this release cannot read: end it`]
      : [];
  }

  /** What an operator should know of although the process works. */
  warnings(): string[] {
    return this.#format < LATEST_FORMAT
      ? [
          `the deployment still writes format ${this.#format} for processes of the previous release: run "shuiwei upgrade --finish" when all are new`,
        ]
      : [];
  }

  async #run(): Promise<void> {
    const { redis, prefix, clock, onTrouble } = this.#options;
    const { signal } = this.#stop;
    // The last look is told once: an outage has its own messages.
    let isTold = false;
    while (!signal.aborted) {
      const elapsed = stopwatch();
      try {
        this.#format = Math.max(this.#format, await readFormat(redis, prefix));
        isTold = false;
      } catch (thrown) {
        if (!isTold && !signal.aborted) onTrouble(`the deployment's format: ${messageOf(thrown)}`);
        isTold = true;
      }
      await clock.sleep(Math.max(0, LOOK_EVERY_MS - elapsed()), signal);
    }
  }
}
