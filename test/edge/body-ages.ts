/**
 * Readers of one edge: each asks for one address after another and notes how old the body is when it has arrived, by
 * this machine's clock. Ages are counted in steps of 10 ms, so a long run takes no more memory than a short one. An
 * answer without a body that states an instant is a refusal; none at all is one, too.
 */
import { Pool } from "undici";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import type { Random } from "../../engine/kernel/random.js";

const STEP_MS = 10;
/** A cache waits 15 s for another reader's request, then 3 s for its own. */
const ANSWER_LIMIT_MS = 25_000;

export class BodyAges {
  bodies = 0;
  refusals = 0;
  /** When the oldest was read and what it was, to find its cause. */
  oldest = "";
  #maxMs = 0;
  readonly #steps: number[] = [];

  get maxMs(): number {
    return this.#maxMs;
  }

  note(ageMs: number, what: string): void {
    this.bodies++;
    const step = Math.max(0, Math.floor(ageMs / STEP_MS));
    this.#steps[step] = (this.#steps[step] ?? 0) + 1;
    if (ageMs <= this.#maxMs) return;
    this.#maxMs = ageMs;
    this.oldest = what;
  }

  /** The age that this share of the bodies does not exceed, in milliseconds. */
  percentile(share: number): number {
    let left = this.bodies * share;
    for (let step = 0; step < this.#steps.length; step++) {
      left -= this.#steps[step] ?? 0;
      if (left <= 0) return (step + 1) * STEP_MS;
    }
    return this.#maxMs;
  }
}

export interface ReaderSettings {
  readonly url: string;
  readonly readers: number;
  /** Between an answer and the next request of a reader, in milliseconds. */
  readonly pauseMs: number;
  readonly random: Random;
  /** The addresses of answers that state an `asOf`. */
  readonly paths: readonly string[];
}

/** Reads until the signal ends it. */
export async function readAges(settings: ReaderSettings, ages: BodyAges, signal: AbortSignal): Promise<void> {
  const pool = new Pool(settings.url, {
    connections: settings.readers,
    headersTimeout: ANSWER_LIMIT_MS,
    bodyTimeout: ANSWER_LIMIT_MS,
  });
  const reader = async () => {
    while (!signal.aborted) {
      const path = settings.random.pick(settings.paths);
      const asOfMs = await asOfAt(pool, path, signal).catch(() => undefined);
      if (signal.aborted) return;
      if (asOfMs === undefined) ages.refusals++;
      else {
        const nowMs = systemClock.now();
        ages.note(nowMs - asOfMs, `${path} at ${new Date(nowMs).toISOString()}`);
      }
      await sleep(settings.pauseMs, signal);
    }
  };
  await Promise.all(Array.from({ length: settings.readers }, reader));
  await pool.destroy();
}

/** The instant that a body states; undefined when there is none. */
async function asOfAt(pool: Pool, path: string, signal: AbortSignal): Promise<number | undefined> {
  const { statusCode, body } = await pool.request({ method: "GET", path, signal });
  const text = await body.text();
  if (statusCode !== 200) return undefined;
  const asOfMs = Date.parse((JSON.parse(text) as { asOf: string }).asOf);
  if (Number.isNaN(asOfMs)) throw new Error(`${path}: ${text} states no instant`);
  return asOfMs;
}
