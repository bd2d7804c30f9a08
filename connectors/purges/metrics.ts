/**
 * What became of purges, and how long after the change a CDN accepted them, as metrics of Prometheus. All vendors of an
 * engine share them, with the vendor as label.
 */
import { Counter, Histogram } from "prom-client";
import type { CdnConfiguration } from "./configuration.js";
import type { PurgeResult } from "./dispatcher.js";

/** From the shortest delay to the time after which a purge is dropped, in seconds. */
const BUCKETS = [0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 15];
const RESULTS: readonly PurgeResult[] = ["purged", "repeated", "dropped_late", "dropped_limit", "failed"];

export interface PurgeMetrics {
  readonly results: Counter<"vendor" | "outcome">;
  readonly seconds: Histogram<"vendor">;
}

/** By the configuration that an engine's vendors share. */
const metrics = new WeakMap<CdnConfiguration, PurgeMetrics>();

/** Of the engine with this configuration; registered nowhere yet. */
export function purgeMetrics(cdns: CdnConfiguration): PurgeMetrics {
  const known = metrics.get(cdns);
  if (known) return known;
  const made = {
    results: new Counter({
      name: "shuiwei_purges_total",
      help: "SKUs whose copies were to be purged from a CDN, by what became of it, through this process",
      labelNames: ["vendor", "outcome"],
      registers: [],
    }),
    seconds: new Histogram({
      name: "shuiwei_purge_acceptance_seconds",
      help: "From a SKU's change to the acceptance of its first purge by the CDN, through this process",
      labelNames: ["vendor"],
      buckets: BUCKETS,
      registers: [],
    }),
  } satisfies PurgeMetrics;
  metrics.set(cdns, made);
  return made;
}

/** Present from the start: a rate of a series that begins with its first value misses it. */
export function zeroPurgeMetrics({ results, seconds }: PurgeMetrics, vendor: string): void {
  for (const outcome of RESULTS) results.inc({ vendor, outcome }, 0);
  seconds.zero({ vendor });
}
