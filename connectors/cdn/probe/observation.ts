/**
 * What a check of an edge reads, and when: the answer of one SKU twice a second, every other time with If-None-Match;
 * another address of it once and again after a pause in which nobody asks for it; one address that is in no cache, many
 * times at once; and, where they are named, the engine itself and the edge's address for purges. It only collects: what
 * it means is in findings.ts. Requests under way, their number in all and the time are limited.
 */
import { sleep, stopwatch } from "../../../engine/kernel/clock.js";
import type { Headers } from "./cache-signs.js";
import { bodyAgeMs, type EdgeReader, type KnownBody, knownBodyOf, type Reading } from "./reader.js";
import { coldAddress, coldListAddress, locationsAddress } from "./target.js";

export interface PurgeRequest {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
}

export interface ObservationSettings {
  readonly url: URL;
  readonly durationMs: number;
  /** The engine's own address of the same answer, past all caches. */
  readonly origin: URL | undefined;
  /** A request that removes the answer from the edge. */
  readonly purge: PurgeRequest | undefined;
}

export interface Observation {
  readonly seconds: number;
  /** Answers that no cache had, for the server's clock. */
  readonly cold: readonly Reading[];
  /** Of the SKU's answer, by the time of the request. */
  readonly readings: readonly Reading[];
  /** Of the answer by location: the first, and one after a pause. */
  readonly idle: readonly Reading[];
  /** Of one address, all at once. */
  readonly burst: readonly Reading[];
  /** Of the engine itself. */
  readonly origin: readonly Reading[];
  readonly purged: { readonly answer: Reading; readonly asOfMs: number } | undefined;
}

/** Connections of the reader: those of a burst, which has to arrive at once. */
export const BURST_READS = 20;
const EVERY_MS = 500;
/** A slow edge is asked less often. */
const MAX_UNDER_WAY = 4;
/** The clock of answers has whole seconds: different parts of a second narrow it. */
const COLD_READS = 3;
const COLD_PAUSE_MS = 350;
/** Longer than any cache may keep an answer. */
const IDLE_MS = 16_500;
/** A body of this age is neither new nor about to be replaced: whether a purge has removed it can be seen. */
const PURGE_FROM_MS = 4_000;
const PURGE_UP_TO_MS = 8_000;

export async function observe(
  settings: ObservationSettings,
  reader: EdgeReader,
  signal: AbortSignal,
): Promise<Observation> {
  const { url, durationMs, origin, purge } = settings;
  const elapsedMs = stopwatch();
  const cold: Reading[] = [];
  for (let i = 0; i < COLD_READS && !signal.aborted; i++) {
    cold.push(await reader.read(coldAddress(url)));
    await sleep(COLD_PAUSE_MS, signal);
  }
  const burst = await readAtOnce(url, reader);
  const idle = readAfterPause(locationsAddress(url), durationMs, reader, signal);
  const fromOrigin: Reading[] = [];
  const readings: Reading[] = [];
  const underWay = new Set<Promise<void>>();
  const begin = (reading: Promise<void>) => {
    const ended = reading.finally(() => underWay.delete(ended));
    underWay.add(ended);
  };
  let known: KnownBody | undefined;
  let purged: Promise<Observation["purged"]> | undefined;
  const sinceStart = stopwatch();
  for (let turn = 0; sinceStart() < durationMs && !signal.aborted; turn++) {
    const asks = turn % 2 === 1 ? known : undefined;
    if (underWay.size < MAX_UNDER_WAY)
      begin(
        reader.read(url, { known: asks }).then((reading) => {
          readings.push(reading);
          known = knownBodyOf(reading) ?? known;
          if (purge !== undefined && purged === undefined && isToPurge(reading))
            purged = reader.read(purge.url, purge).then((answer) => ({ answer, asOfMs: reading.asOfMs as number }));
        }),
      );
    if (origin !== undefined && turn % 2 === 0 && underWay.size < MAX_UNDER_WAY)
      begin(reader.read(origin).then((reading) => void fromOrigin.push(reading)));
    await sleep(Math.max(0, (turn + 1) * EVERY_MS - sinceStart()), signal);
  }
  await Promise.all(underWay);
  readings.sort((a, b) => a.sentMs - b.sentMs);
  return {
    ...{ seconds: elapsedMs() / 1_000, cold, readings, idle: await idle, burst },
    ...{ origin: fromOrigin, purged: await purged },
  };
}

/** One address that no cache has, over connections that are open already. */
async function readAtOnce(url: URL, reader: EdgeReader): Promise<Reading[]> {
  const all = (address: URL) => Promise.all(Array.from({ length: BURST_READS }, () => reader.read(address)));
  await all(url);
  return all(coldListAddress(url));
}

async function readAfterPause(
  url: URL,
  durationMs: number,
  reader: EdgeReader,
  signal: AbortSignal,
): Promise<Reading[]> {
  const first = await reader.read(url);
  if (durationMs < IDLE_MS) return [first];
  await sleep(IDLE_MS, signal);
  return signal.aborted ? [first] : [first, await reader.read(url)];
}

const isToPurge = (reading: Reading): boolean =>
  reading.status === 200 && bodyAgeMs(reading) >= PURGE_FROM_MS && bodyAgeMs(reading) <= PURGE_UP_TO_MS;
