/**
 * Checks an edge from outside: reads stock answers through it for some time and says whether what it serves keeps R6,
 * which rule is likely at fault, and what could not be tested. It changes nothing at the edge, except that it purges
 * one answer where it is told to. What did not occur meanwhile, such as an outage, is reported as not tested.
 */
import type { EdgeKind } from "./cache-signs.js";
import { type Check, judge } from "./findings.js";
import { BURST_READS, type ObservationSettings, observe } from "./observation.js";
import { EdgeReader } from "./reader.js";
import { stockAddress } from "./target.js";

export interface EdgeReport {
  /** What was read. */
  readonly url: string;
  readonly edge: EdgeKind;
  readonly seconds: number;
  readonly reads: number;
  readonly checks: readonly Check[];
}

export interface CheckSettings extends Omit<ObservationSettings, "url" | "origin"> {
  /** A stock answer, or a site. */
  readonly url: URL;
  /** The engine's own address, past all caches: its scheme, host and port. */
  readonly origin: URL | undefined;
  /** Called with the address before it is read. */
  onStart?(url: string): void;
}

/** An answer that takes longer is no answer: it would be too old. */
const READ_TIMEOUT_MS = 10_000;

/** @throws EngineError `bad_input` when no SKU is found; the signal's reason */
export async function checkEdge(settings: CheckSettings, signal: AbortSignal): Promise<EdgeReport> {
  const reader = new EdgeReader({ connections: BURST_READS, timeoutMs: READ_TIMEOUT_MS, signal });
  try {
    const url = await stockAddress(settings.url, reader);
    settings.onStart?.(url.href);
    const origin = settings.origin && new URL(`/v1/stock/${url.pathname.split("/").at(-1)}`, settings.origin);
    const observation = await observe({ ...settings, url, origin }, reader, signal);
    signal.throwIfAborted();
    const { edge, checks } = judge(observation);
    return { url: url.href, edge, seconds: observation.seconds, reads: observation.readings.length, checks };
  } finally {
    await reader.close();
  }
}
