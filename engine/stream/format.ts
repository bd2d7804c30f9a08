/**
 * The format of what a deployment writes: logs, records of lines and orders, emits, states. It is a number in the
 * deployment's hash, so that old and new processes may run at once: as long as it is that of the previous release,
 * nothing is written that the previous release cannot read or would misread, and `shuiwei upgrade --finish` raises it
 * when every process is new. It never goes back. Programs read every format up to their own; they refuse a deployment
 * of a later one. Format 1 has no such field: it is what releases before this number wrote.
 */
import { type Scheduler, stopwatch } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import { deploymentKey } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** 2 (2026-11-28): the first number. What it allows is said where it is asked for. */
export const LATEST_FORMAT = 2;
/** Of a deployment whose field has the number of partitions alone. */
const FIRST_FORMAT = 1;
/**
 * The number of partitions, and the format where it is not the first: `4`, `4 (format 2)`. One field, so that both
 * are written at once; and releases from before formats, which take the field for a number, refuse to start when it
 * has one.
 */
const FIELD = "partitions";
const FIELD_TEXT = /^(\d+)(?: \(format (\d+)\))?$/;

/** How soon a process writes in the format that its operator has raised the deployment to. */
const LOOK_EVERY_MS = 1_000;

/** What was fixed when a deployment was created, and its format. */
export interface Deployment {
  partitions: number;
  format: number;
}

/** Undefined when there is none. */
export async function readDeployment(redis: RedisClient, prefix: string): Promise<Deployment | undefined> {
  const text = await redis.hget(deploymentKey(prefix), FIELD);
  if (text === null) return undefined;
  const [, partitions, format = FIRST_FORMAT] = FIELD_TEXT.exec(text) ?? [];
  return { partitions: Number(partitions), format: Number(format) };
}

const textOf = ({ partitions, format }: Deployment): string =>
  format === FIRST_FORMAT ? String(partitions) : `${partitions} (format ${format})`;

/** Creates a deployment, unless there is one. */
export async function createDeployment(redis: RedisClient, prefix: string, deployment: Deployment): Promise<void> {
  await redis.hsetnx(deploymentKey(prefix), FIELD, textOf(deployment));
}

/** Raises a deployment's format; to be done when every process can read it. */
export async function raiseFormat(redis: RedisClient, prefix: string, format: number): Promise<void> {
  const deployment = await readDeployment(redis, prefix);
  if (deployment && deployment.format < format)
    await redis.hset(deploymentKey(prefix), FIELD, textOf({ ...deployment, format }));
}

/** @throws EngineError `format_too_new` when the deployment's format is later than this program's */
export function checkFormat(format: number): void {
  if (format <= LATEST_FORMAT) return;
  throw new EngineError(
    `this deployment was made by a newer release: its format is ${format}, and this program reads up to ${LATEST_FORMAT}`,
    { op: "deployment.claim", code: "format_too_new", retryable: false, input: "format" },
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
        this.#format = Math.max(this.#format, (await readDeployment(redis, prefix))?.format ?? 0);
        isTold = false;
      } catch (thrown) {
        if (!isTold && !signal.aborted) onTrouble(`the deployment's format: ${messageOf(thrown)}`);
        isTold = true;
      }
      await clock.sleep(Math.max(0, LOOK_EVERY_MS - elapsed()), signal);
    }
  }
}
