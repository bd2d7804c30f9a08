/**
 * The format of what a deployment writes: logs, records of lines and orders, emits, states. It is a number in the
 * deployment's hash, so that old and new processes may run at once: while it is that of the previous release, nothing
 * is written that the previous release cannot read or would misread. `shuiwei upgrade --finish` raises it when every
 * process is new. It never decreases. Programs read every format up to their own and reject a later one. Format 1 has
 * no number in the hash: earlier releases wrote it.
 */
import { type Scheduler, stopwatch } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import { deploymentKey } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** 2 (2026-11-28): the first number. 3 (2026-11-29). What each allows is documented where it is checked. */
export const LATEST_FORMAT = 3;
/** The format of a deployment whose field holds only the number of partitions. */
const FIRST_FORMAT = 1;
/**
 * The number of partitions, and the format where it is not the first: `4`, `4 (format 2)`. One field, so that both
 * are written at once, and so that releases before formats, which read the field as a number, refuse to start when
 * there is a format.
 */
const FIELD = "partitions";
const FIELD_TEXT = /^(\d+)(?: \(format (\d+)\))?$/;

/** How soon a process writes a format to which the deployment was raised. */
const READ_EVERY_MS = 1_000;

/** What was fixed when a deployment was created, and its format. */
export interface Deployment {
  partitions: number;
  format: number;
}

/** Undefined when the deployment does not exist. */
export async function readDeployment(redis: RedisClient, prefix: string): Promise<Deployment | undefined> {
  const text = await redis.hget(deploymentKey(prefix), FIELD);
  if (text === null) return undefined;
  const [, partitions, format = FIRST_FORMAT] = FIELD_TEXT.exec(text) ?? [];
  return { partitions: Number(partitions), format: Number(format) };
}

const textOf = ({ partitions, format }: Deployment): string =>
  format === FIRST_FORMAT ? String(partitions) : `${partitions} (format ${format})`;

/** Creates a deployment unless it exists. */
export async function createDeployment(redis: RedisClient, prefix: string, deployment: Deployment): Promise<void> {
  await redis.hsetnx(deploymentKey(prefix), FIELD, textOf(deployment));
}

/** Raises a deployment's format; call it when every process can read it. */
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
  /** The format at the start. */
  format: number;
  clock: Scheduler;
  onTrouble(message: string): void;
}

/** Reads the deployment's format about once a second. */
export class FormatWatch {
  readonly #options: FormatWatchOptions;
  readonly #stop = new AbortController();
  #format: number;
  #running: Promise<void> | undefined;

  constructor(options: FormatWatchOptions) {
    this.#options = options;
    this.#format = options.format;
  }

  /** The format that may be written now. It never decreases. */
  readonly current = (): number => Math.min(this.#format, LATEST_FORMAT);

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Reasons why this process must not continue; empty: it may. */
  wrong(): string[] {
    return this.#format > LATEST_FORMAT
      ? [`the deployment has been raised to format ${this.#format}, which this release cannot read: stop this process`]
      : [];
  }

  /** What an operator should do although the process works. */
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
    // One message for consecutive failures: an outage is reported elsewhere.
    let isReported = false;
    while (!signal.aborted) {
      const elapsed = stopwatch();
      try {
        this.#format = Math.max(this.#format, (await readDeployment(redis, prefix))?.format ?? 0);
        isReported = false;
      } catch (thrown) {
        if (!isReported && !signal.aborted) onTrouble(`the deployment's format: ${messageOf(thrown)}`);
        isReported = true;
      }
      await clock.sleep(Math.max(0, READ_EVERY_MS - elapsed()), signal);
    }
  }
}
