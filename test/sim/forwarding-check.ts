/**
 * What must be true of two topics after all faults. Every routed emit of the source's log of emits is one event of the
 * target, in order for each partition of the source; every emit that cannot be mapped is one dead letter; each schedule
 * has ticked by its rule, no due time twice; and the job of the target has counted exactly that. Where a server that
 * has failed over has lost commits of the source whose events another server has, those events may be there, too, but
 * nothing is left out.
 */
import { isDeepStrictEqual } from "node:util";
import { type TickPayload, type TopicEvent, topicEventsOf } from "../../engine/stream/event-entry.js";
import { eventKeys, partitionKeys, sinkKeys } from "../../engine/stream/keys.js";
import { assertContiguous, field, type LogEntry, readLog } from "../../engine/stream/log.js";
import { decodeEmits } from "../../engine/stream/out-record.js";
import { decodeState } from "../../engine/stream/pack.js";
import { partitionOf } from "../../engine/stream/partition.js";
import type { ScheduleState } from "../../engine/stream/schedule.js";
import { forwarderSink } from "../../engine/stream/sinks.js";
import { deadLettersOf } from "../stream/toy-log.js";
import { type ForwardingWorld, route, SCHEDULES, SOURCE, TARGET, targetJob } from "./forwarding-world.js";

/** What the runs have seen, so that none of it is missed by all of them. */
export interface Seen {
  events: number;
  deadLetters: number;
  ticks: number;
  /** Due times without a tick. */
  missed: number;
  /** Events of commits that were lost. */
  ofLost: number;
}

const ALL = 1_000_000;
const GRACE_MS = 60_000;

/** Throws on the first difference. */
export async function checkForwarding(world: ForwardingWorld, seen: Seen): Promise<void> {
  const { plan, client, prefix } = world;
  const target: TopicEvent[][] = [];
  for (let partition = 0; partition < plan.partitions; partition++) {
    const keys = eventKeys(prefix, TARGET, partition);
    const log = await readLog(client, keys.log, 0, ALL);
    assertContiguous(log, 0, keys.log);
    const events = log.flatMap((entry) => topicEventsOf(entry).events);
    same(
      `${TARGET} ${partition}: the head's events`,
      Number((await client.hget(keys.head, "events")) ?? 0),
      events.length,
    );
    target.push(events);
    await checkState(world, partition, events);
  }
  for (let partition = 0; partition < plan.partitions; partition++) await checkSource(world, partition, target, seen);
  for (const schedule of SCHEDULES) await checkSchedule(world, schedule, target.flat(), seen);
  same(
    "events of an unknown origin",
    target.flat().filter(({ id }) => !/^src\/|@/.test(id)),
    [],
  );
}

/** Each routed emit of a partition of the source, against the events of the target. */
async function checkSource(
  { plan, client, prefix, lost }: ForwardingWorld,
  partition: number,
  target: readonly TopicEvent[][],
  seen: Seen,
): Promise<void> {
  const keys = partitionKeys(prefix, SOURCE, partition);
  const name = `${SOURCE}/${String(partition).padStart(2, "0")}`;
  const entries = await readLog(client, keys.emits, 0, ALL);
  const wanted: string[][] = Array.from({ length: plan.partitions }, () => []);
  const unmapped: string[] = [];
  for (const entry of entries)
    for (const [index, emit] of emitsOf(entry).entries()) {
      if (emit.kind === "bad") unmapped.push(`${entry.offset}.${index}`);
      const event = emit.kind === "said" ? route.event(emit) : undefined;
      if (!event) continue;
      const text = textOf({ ...event, id: `${name}/${entry.offset}.${index}`, atMs: emit.atMs });
      wanted[partitionOf(event.key, plan.partitions)]?.push(text);
    }
  const mayHaveMore = plan.servers === 2;
  const ranges = lost[partition] ?? [];
  const isLost = (text: string): boolean => {
    const commit = Number(/\/(\d+)\.\d+/.exec(text)?.[1]);
    return mayHaveMore && ranges.some(({ after, upTo }) => commit > after && commit <= upTo);
  };
  for (const [number, events] of target.entries()) {
    const found = events.filter(({ id }) => id.startsWith(`${name}/`)).map(textOf);
    const own = wanted[number] as string[];
    seen.events += own.length;
    seen.ofLost += found.length - own.length;
    // The last occurrences, in their order: what was lost may have been there before.
    const last = new Map(found.map((text, at) => [text, at]));
    const known = new Set(own);
    const inOrder = [...last].sort(([, a], [, b]) => a - b).map(([text]) => text);
    same(
      `${name} to ${TARGET} ${number}`,
      inOrder.filter((text) => known.has(text)),
      own,
    );
    const others = (texts: readonly string[]): string[] => texts.filter((text) => !isLost(text));
    same(`${name} to ${TARGET} ${number}, of commits that were never lost`, others(found), others(own));
  }
  const letters = await deadLettersOf(client, sinkKeys(prefix, SOURCE, partition, forwarderSink(TARGET)));
  seen.deadLetters += letters.length;
  same(
    `${name}: dead letters`,
    letters.map(({ offset, index }) => `${offset}.${index}`),
    unmapped,
  );
}

/** The ticks of a schedule against its rule, and its stored state. */
async function checkSchedule(
  { plan, client, prefix }: ForwardingWorld,
  { name, due, catchUp }: (typeof SCHEDULES)[number],
  events: readonly TopicEvent[],
  seen: Seen,
): Promise<void> {
  if (due.kind !== "every") throw new Error("an interval was expected");
  const { intervalMs, offsetMs } = due;
  const ticks = events.filter(({ kind, key }) => kind === "tick" && key === name);
  seen.ticks += ticks.length;
  const place = (atMs: number): string => `${name}, due ${atMs}`;
  let before: number | undefined;
  for (const { id, atMs, clockMs, payload } of ticks) {
    const { dueMs, missed } = payload as TickPayload;
    same(`${place(dueMs)}: its id and time`, [id, atMs], [`${name}@${new Date(dueMs).toISOString()}`, dueMs]);
    same(`${place(dueMs)}: aligned`, (dueMs - offsetMs) % intervalMs, 0);
    if (clockMs < dueMs) throw new Error(`${place(dueMs)}: its tick came at ${clockMs}`);
    if (before !== undefined) {
      if (dueMs <= before) throw new Error(`${place(dueMs)}: after ${before}`);
      same(`${place(dueMs)}: missed`, missed, (dueMs - before) / intervalMs - 1);
      if (catchUp === "every") same(`${place(dueMs)}: after`, before, dueMs - intervalMs);
    }
    const lateMs = clockMs - dueMs;
    if (catchUp === "last" && lateMs >= intervalMs) throw new Error(`${place(dueMs)}: not the newest at ${clockMs}`);
    if (catchUp === "none" && lateMs >= Math.min(GRACE_MS, intervalMs))
      throw new Error(`${place(dueMs)}: ${lateMs} ms late`);
    seen.missed += missed;
    before = dueMs;
  }
  const keys = eventKeys(prefix, TARGET, partitionOf(name, plan.partitions));
  const state = JSON.parse((await client.hget(keys.schedules, name)) ?? "{}") as ScheduleState;
  same(`${name}: the last tick`, state.firedMs, before);
  if (catchUp === "every" && before !== undefined) same(`${name}: the next`, state.dueMs, before + intervalMs);
}

/** The job's states against the log. */
async function checkState({ client, prefix }: ForwardingWorld, partition: number, events: readonly TopicEvent[]) {
  const stored = await client.hgetallBuffer(partitionKeys(prefix, TARGET, partition).state(targetJob.name));
  const found = new Map(Object.entries(stored).map(([key, bytes]) => [key, decodeState(bytes)]));
  const wanted = new Map<string, { count: number; last: string }>();
  for (const { key, id } of events) wanted.set(key, { count: (wanted.get(key)?.count ?? 0) + 1, last: id });
  same(`${TARGET} ${partition}: states`, [...found].sort(), [...wanted].sort());
}

const emitsOf = (entry: LogEntry) => decodeEmits(field(entry, "r") as Buffer).emits;

const textOf = ({ id, key, payload, atMs }: Pick<TopicEvent, "id" | "key" | "payload" | "atMs">): string =>
  JSON.stringify([id, key, payload, atMs]);

function same(what: string, found: unknown, wanted: unknown): void {
  if (isDeepStrictEqual(found, wanted)) return;
  throw new Error(`${what}: found ${JSON.stringify(found)}, expected ${JSON.stringify(wanted)}`);
}
