/**
 * Checks what Redis holds at the end of a fault test against the log. The log is folded into balances without any
 * rules, and processed once more by the jobs in this process, without a fault; ledger, job states, timers, cursors
 * and emits must equal the result, and the log must hold exactly what the clients were answered. It expects logs that
 * were never trimmed and processes that have ended.
 */
import { expect } from "vitest";
import { stockJobs } from "../../engine/jobs/index.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import { type Balances, cellOf, displayUnits, EVENT_TYPES, emptyBalances, POOLS } from "../../engine/stock/model.js";
import { stockTopic } from "../../engine/stock/topic.js";
import { lastEmitEntry } from "../../engine/stream/emits.js";
import type { Emit } from "../../engine/stream/job.js";
import { field, readLog } from "../../engine/stream/log.js";
import { decodeEmits, decodeOut } from "../../engine/stream/out-record.js";
import { stateOf } from "../../engine/stream/state-codec.js";
import { refold } from "../jobs/refold.js";
import type { Bed } from "./bed.js";
import type { Answered } from "./shop.js";

export interface CommitSeen {
  partition: number;
  number: number;
  atMs: number;
  /** The owner's epoch, where the record has it. */
  epoch: number | undefined;
}

export interface Findings {
  events: number;
  expiries: number;
  emits: number;
  commits: CommitSeen[];
  /** Balances by cell, from the log. */
  cells: Map<string, Balances>;
  /** How often each event is in the log, by type and id. */
  tally: Map<string, number>;
}

const READ_ENTRIES = 64;
const SCAN_COUNT = 1_000;
const ZONE = "Asia/Shanghai";

const eventKey = (type: string, id: string): string => `${type} ${id}`;

/**
 * Compares everything in Redis with the logs.
 * @param isCompared false for emits that another release does not write; left out: all are compared
 */
export async function checkFinalState(bed: Bed, isCompared = (_emit: Emit): boolean => true): Promise<Findings> {
  const findings: Findings = {
    events: 0,
    expiries: 0,
    emits: 0,
    commits: [],
    cells: new Map(),
    tally: new Map(),
  };
  for (const partition of bed.partitions()) await checkPartition(bed, partition, findings, isCompared);
  return findings;
}

async function checkPartition(
  bed: Bed,
  partition: number,
  findings: Findings,
  isCompared: (emit: Emit) => boolean,
): Promise<void> {
  const { redis } = bed;
  const keys = bed.keysOf(partition);
  const place = `partition ${partition}`;
  const ledger = bed.ledger();
  const topic = stockTopic(ledger);
  const jobs = stockJobs(zoneOf(ZONE));

  // The log, once for the auditor and once for the jobs.
  const { audit, offset, watermarkMs, states, timers, emits } = await refold(redis, keys.log, topic, jobs, (event) => {
    findings.events++;
    const key = eventKey(event.type, event.id);
    findings.tally.set(key, (findings.tally.get(key) ?? 0) + 1);
    if (event.type === "LineExpired") findings.expiries++;
  });
  expect(Number((await redis.hget(keys.head, "offset")) ?? 0), `${place}: end of the log`).toBe(offset);

  // The ledger.
  let cells = 0;
  for await (const { sku, location, balances } of ledger.cells(partition)) {
    cells++;
    expect(balances, `${place}: ${sku} at ${location}`).toEqual(audit.cells.get(cellOf(sku, location)));
  }
  expect(cells, `${place}: cells`).toBe(audit.cells.size);
  for (const [cell, balances] of audit.cells) findings.cells.set(cell, balances);

  // The jobs.
  const task = (await bed.tasks())[partition];
  for (const job of jobs) {
    const { name } = job;
    expect(task?.cursors.get(name) ?? 0, `${place}: cursor of ${name}`).toBe(offset);
    const expected = states.get(name) as Map<string, Buffer>;
    const found = new Map<string, Buffer>();
    let cursor = "0";
    do {
      const [next, pairs] = (await redis.hscanBuffer(keys.state(name), cursor, "COUNT", SCAN_COUNT)) as [
        Buffer,
        Buffer[],
      ];
      cursor = next.toString("latin1");
      for (let i = 0; i < pairs.length; i += 2) found.set(String(pairs[i]), pairs[i + 1] as Buffer);
    } while (cursor !== "0");
    expect([...found.keys()].sort(), `${place}: keys of ${name}`).toEqual([...expected.keys()].sort());
    for (const [key, state] of found) {
      if (!state.equals(expected.get(key) as Buffer))
        expect(stateOf(job, key, state), `${place}: ${name} of ${key}`).toEqual(
          stateOf(job, key, expected.get(key) as Buffer),
        );
    }
  }
  const flat = await redis.zrange(keys.timers, "0", "-1", "WITHSCORES");
  const found = Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], Number(flat[2 * i + 1])] as const);
  expect(new Map(found as [string, number][]), `${place}: timers`).toEqual(timers);
  expect(task?.watermarkMs ?? 0, `${place}: watermark`).toBe(watermarkMs);
  expect(await redis.xlen(keys.deadLetters), `${place}: dead letters`).toBe(0);

  // What went out: a chain without a gap, and every emit once, in the log's order.
  const emitted: Emit[] = [];
  let last = 0;
  let lastJoint = 0;
  let epoch = 0;
  for (;;) {
    const entries = await readLog(redis, keys.out, last, READ_ENTRIES);
    if (entries.length === 0) break;
    for (const entry of entries) {
      const record = decodeOut(field(entry, "r") as Buffer);
      expect(record.previous, `${place}: what commit ${entry.offset} follows on`).toBe(last);
      last = entry.offset;
      if (!record.isSplit) lastJoint = last;
      const written = field(entry, "e");
      const commit = {
        partition,
        number: last,
        atMs: Number(field(entry, "m")),
        epoch: written && Number(written),
      };
      expect(commit.epoch ?? epoch, `${place}: epoch of commit ${last}`).toBeGreaterThanOrEqual(epoch);
      epoch = commit.epoch ?? epoch;
      findings.commits.push(commit);
      // Commits before the format was raised have the emits in the same record.
      if (!record.isSplit) emitted.push(...record.emits);
    }
  }
  expect(task?.lastOut ?? 0, `${place}: last commit with a record for views`).toBe(last);
  let lastEmits = lastJoint;
  for (;;) {
    const entries = await readLog(redis, keys.emits, lastEmits, READ_ENTRIES);
    if (entries.length === 0) break;
    for (const entry of entries) {
      const record = decodeEmits(field(entry, "r") as Buffer);
      expect(record.previous, `${place}: the emits that commit ${entry.offset} follows on`).toBe(lastEmits);
      lastEmits = entry.offset;
      emitted.push(...record.emits);
    }
  }
  expect(task ? lastEmitEntry(task) : 0, `${place}: last commit with emits`).toBe(lastEmits);
  expect(emitted.filter(isCompared), `${place}: emits`).toEqual(emits.filter(isCompared));
  findings.emits += emitted.length;
}

/** Compares what clients were answered with the events in the logs, both ways. */
export function matchAnswers(answers: ReadonlyMap<string, Answered>, findings: Findings): void {
  const faults: string[] = [];
  const seen = new Map(findings.tally);
  const count = (type: string, id: string): number => {
    const found = seen.get(eventKey(type, id)) ?? 0;
    seen.delete(eventKey(type, id));
    return found;
  };
  for (const { id, kind, type, accepted, ofOrder, outcome } of answers.values()) {
    // A line of an order may have been taken and given back, over several tries, before the order was answered.
    const undone = !ofOrder
      ? 0
      : kind === "reserve"
        ? count("LineAborted", id)
        : kind === "pay"
          ? count("LineUnpaid", id)
          : 0;
    // Of an order with several lines, each counts as demand once it is accepted (R9); where its caller stopped
    // waiting, it may be or not.
    if (kind === "reserve" && ofOrder && count("LineAccepted", id) > 1) faults.push(`${id}: counted twice`);
    // A paid line is suspended before it is cancelled, and continues where the cancellation is refused.
    const suspended = ofOrder && kind === "cancel" ? count("LineSuspended", id) - count("LineResumed", id) : 0;
    if (suspended > (accepted ? 1 : 0)) faults.push(`${id}: suspended for good`);
    const found = count(type, id) - undone;
    if (found !== (accepted ? 1 : 0)) faults.push(`${kind} ${id}: ${outcome}, ${found} events`);
  }
  for (const [key, times] of seen)
    if (!key.startsWith(EVENT_TYPES.expire)) faults.push(`${key}: ${times} events without an accepted command`);
    else if (times !== 1) faults.push(`${key}: ${times} times`);
  expect(faults.slice(0, 20), `${faults.length} faults in the accounts`).toEqual([]);
}

/** Balances of every SKU over all its locations, as the ledger has them now. */
export async function ledgerTotals(bed: Bed): Promise<Map<string, Balances>> {
  const totals = new Map<string, Balances>();
  for (const partition of bed.partitions()) {
    for await (const { sku, balances } of bed.ledger().cells(partition)) {
      const total = totals.get(sku) ?? emptyBalances();
      for (const pool of POOLS) total[pool] += balances[pool];
      totals.set(sku, total);
    }
  }
  return totals;
}

const SKUS_A_REQUEST = 100;

/** SKUs for which a server shows customers other figures than the ledger's balances give. */
export async function shownWrongly(bed: Bed, names: readonly string[]): Promise<string[]> {
  const totals = await ledgerTotals(bed);
  const faults: string[] = [];
  for (const api of bed.apis) {
    for (let from = 0; from < names.length; from += SKUS_A_REQUEST) {
      const query = names.slice(from, from + SKUS_A_REQUEST).map((sku) => `sku=${sku}`);
      const answer = await fetch(`${api}/v1/stock?${query.join("&")}`);
      const body = (await answer.json()) as { skus?: { sku: string; display: number }[]; unknown?: string[] };
      const shown = new Map((body.skus ?? []).map(({ sku, display }) => [sku, display]));
      for (const sku of names.slice(from, from + SKUS_A_REQUEST)) {
        const total = totals.get(sku);
        const expected = total && displayUnits(total.sellable, total.reserved);
        if (shown.get(sku) !== expected) faults.push(`${sku}: ${shown.get(sku)} and not ${expected}`);
      }
    }
  }
  return faults;
}
