/**
 * The first mapped rows of a source, for people who check a configuration: from as few pages as they need, and without
 * an acknowledgement, so that the source gives the same rows again.
 */
import type { Clock } from "../../engine/kernel/clock.js";
import type { PullRequest, Source } from "../source.js";
import type { PullConfiguration, SourceConfiguration } from "./configuration.js";
import { rowMapper, type StockRow } from "./row-mapper.js";

const ROWS = 3;
/** Faults that are shown; more of the same add nothing. */
const FAULTS = 10;
/** Pages that are asked for while no row is mapped. */
const PAGES = 3;

export interface FirstRows {
  readonly rows: readonly StockRow[];
  readonly faults: readonly string[];
  readonly ignored: number;
}

export async function firstRows(
  configuration: SourceConfiguration,
  source: Source,
  zone: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<FirstRows> {
  const rows: StockRow[] = [];
  const faults: string[] = [];
  let ignored = 0;
  for (const kind of ["snapshot", "movements"] as const) {
    const pull = configuration.pulls[kind];
    if (pull === undefined) continue;
    const map = rowMapper(configuration, kind, pull, zone);
    const wanted = rows.length + ROWS;
    let pages = 0;
    for await (const page of source.pull(requestOf(kind, pull, configuration, clock), signal)) {
      for (const raw of page.rows) {
        const reading = map(raw);
        if (reading === "ignored") ignored++;
        else if ("row" in reading) rows.length < wanted && rows.push(reading.row);
        else if (faults.length < FAULTS) faults.push(`${reading.fault.place}: ${reading.fault.message}`);
      }
      if (rows.length >= wanted || ++pages >= PAGES) break;
    }
  }
  return { rows, faults, ignored };
}

function requestOf(
  kind: PullRequest["kind"],
  { reachMs }: PullConfiguration,
  { kind: { movementSpanMs } }: SourceConfiguration,
  clock: Clock,
): PullRequest {
  if (kind === "snapshot") return { kind };
  const toMs = clock.now();
  return { kind, fromMs: toMs - Math.min(reachMs, movementSpanMs ?? reachMs), toMs };
}
