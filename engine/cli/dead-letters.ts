/**
 * `shuiwei dead-letters` for an operator: tells what could not be processed or delivered and why, and has it tried
 * again or removes it. A letter's id is `PARTITION/TIME-NUMBER`. Replaying is the work of the partition's owner, in a
 * commit of its own; this command asks, waits and tells what became of it. It changes no state, and a request that it
 * gives up waiting for is still done later.
 */
import { userInfo } from "node:os";
import type { deadLettersOptions } from "../app/config.js";
import { type Deployment, withDeployment } from "../app/deployment.js";
import { sleep, systemClock } from "../kernel/clock.js";
import { badInput, EngineError, messageOf } from "../kernel/errors.js";
import type { OptionValues } from "../kernel/options.js";
import { orderEventsOf } from "../orders/log-entry.js";
import { emitOf } from "../outbox/delivery-dead-letter.js";
import { eventsOf } from "../stock/batch.js";
import { loadStreamLibrary } from "../stream/commit.js";
import {
  deadLetterTimeMs,
  findDeadLetters,
  listDeadLetters,
  pendingReplays,
  readDeadLetters,
  removeDeadLetters,
  requestReplay,
  type StoredDeadLetter,
} from "../stream/dead-letter.js";
import {
  type DeadLetterAction,
  newestDeadLetterActions,
  recordDeadLetterAction,
} from "../stream/dead-letter-actions.js";
import type { LogEvent } from "../stream/job.js";
import { type PartitionKeys, partitionKeys, sinkKeys } from "../stream/keys.js";
import type { LogEntry } from "../stream/log.js";

const OP = "dead-letters";
const ACTIONS = ["list", "show", "replay", "remove", "history"] as const;
/** Letters of one read or one call. */
const PAGE = 500;
/** An owner looks for requests with every tick, a second by default; it does some thousands of them a second. */
const WAIT_MS = 15_000;
const POLL_MS = 100;
const REASON_SHOWN = 60;
/** Of each partition. */
const HISTORY_SHOWN = 1_000;
const IDS_SHOWN = 5;

/** How the entries of each topic are read. */
const DECODERS: Record<string, (entry: LogEntry) => { events: readonly LogEvent[] }> = {
  stock: eventsOf,
  orders: orderEventsOf,
};

type Options = OptionValues<typeof deadLettersOptions>;

/** Letters of one partition. */
interface Group {
  partition: number;
  keys: PartitionKeys;
  ids: string[];
}

/** What became of one letter. */
interface Outcome {
  id: string;
  outcome: "replayed" | "failed" | "waiting" | "asked" | "removed" | "missing";
  reason?: string;
  /** The letters that have taken its place. */
  now?: string[];
}

export async function runDeadLetters(operands: string[], options: Options, signal: AbortSignal): Promise<void> {
  const [action, ...ids] = operands;
  if (!ACTIONS.some((known) => known === action)) throw badInput(OP, "ACTION", `say one of ${ACTIONS.join(", ")}`);
  const isOverview = action === "list" || action === "history";
  if (isOverview && ids.length > 0) throw badInput(OP, "ID", `${action} takes none; show tells about one letter`);
  if (!isOverview && ids.length === 0) throw badInput(OP, "ID", `say which letters to ${action}`);
  await withDeployment(OP, options, async (reached) => {
    if (action === "list") return list(reached, options);
    if (action === "history") return history(reached, options);
    const groups = await groupsOf(reached, ids, options);
    if (action === "show") return show(reached, groups, options);
    tell(
      action === "replay" ? await replay(reached, groups, options, signal) : await remove(reached, groups, options),
      options,
    );
  });
}

async function list(reached: Deployment, options: Options): Promise<void> {
  let deadLetters = 0;
  for (const { partition, keys } of partitionsOf(reached, options)) {
    for await (const deadLetter of deadLettersOf(reached, keys, options)) {
      if (deadLetters++ === 0 && !options.json) say(row(["ID", "WHEN", "JOB", "WHAT", "KEY", "TRIES", "REASON"]));
      say(options.json ? JSON.stringify(summaryOf(partition, deadLetter)) : lineOf(partition, deadLetter, options));
    }
  }
  if (!options.json) say(deadLetters === 0 ? "no dead letters" : `${deadLetters} dead letters`);
}

async function history(reached: Deployment, options: Options): Promise<void> {
  const lines: { atMs: number; line: string }[] = [];
  for (const { partition, keys } of partitionsOf(reached, options)) {
    for (const { atMs, action, actor, deadLetters } of await newestDeadLetterActions(
      reached.redis,
      keys,
      HISTORY_SHOWN,
    )) {
      const ids = deadLetters.map((id) => idOf(partition, id));
      const told = { when: timeOf(atMs), actor, action, deadLetters: ids };
      const shown = ids.length > IDS_SHOWN ? `${ids.length} letters from ${ids[0]} on` : ids.join(", ");
      lines.push({
        atMs,
        line: options.json ? JSON.stringify(told) : `${told.when}  ${plain(actor)}  ${action}  ${shown}`,
      });
    }
  }
  for (const { line } of lines.sort((a, b) => a.atMs - b.atMs)) say(line);
  if (!options.json && lines.length === 0) say("nobody has replayed or removed any");
}

/** Notes who does something, before it is done. A full Redis takes no note, and removing is what makes room in it. */
async function note(
  { redis }: Deployment,
  keys: PartitionKeys,
  action: DeadLetterAction["action"],
  deadLetters: string[],
  { actor }: Options,
): Promise<void> {
  try {
    await recordDeadLetterAction(redis, keys, { action, actor: `cli:${actor ?? systemUser()}`, deadLetters });
  } catch (thrown) {
    if (!/\bOOM\b/.test(messageOf(thrown))) throw thrown;
    process.stderr.write(`shuiwei ${OP}: who did this is not noted, because Redis has no memory left\n`);
  }
}

function systemUser(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run under a number that has no name.
    return `uid-${process.getuid?.() ?? "unknown"}`;
  }
}

async function show({ redis }: Deployment, groups: Group[], options: Options): Promise<void> {
  const missing: string[] = [];
  for (const { partition, keys, ids } of groups) {
    for (const id of ids) {
      const [deadLetter] = await readDeadLetters(redis, keys, [id]);
      if (!deadLetter) missing.push(idOf(partition, id));
      else
        say(
          options.json
            ? JSON.stringify(detailOf(partition, deadLetter, options))
            : pageOf(partition, deadLetter, options),
        );
    }
  }
  if (missing.length > 0) throw failure(`${missing.join(", ")}: there is no such letter`);
}

async function replay(reached: Deployment, groups: Group[], options: Options, signal: AbortSignal): Promise<Outcome[]> {
  const { wait } = options;
  // Nobody will do it as long as this command has the private Redis to itself.
  const waitMs = wait && !reached.isAlone ? WAIT_MS : 0;
  const outcomes = await Promise.all(groups.map((group) => replayIn(reached, group, options, waitMs, signal)));
  return outcomes.flat();
}

async function replayIn(
  reached: Deployment,
  { partition, keys, ids }: Group,
  options: Options,
  waitMs: number,
  signal: AbortSignal,
): Promise<Outcome[]> {
  const { redis, isAlone } = reached;
  const { wait } = options;
  const [newest] = await redis.xrevrange(keys.deadLetters, "+", "-", "COUNT", 1);
  const there = new Set<string>();
  for (const page of pagesOf(ids)) {
    const deadLetters = await findDeadLetters(redis, keys, page);
    if (deadLetters.length > 0) {
      const found = deadLetters.map(({ id }) => id);
      await note(reached, keys, "replay", found, options);
      await requestReplay(redis, keys, deadLetters);
    }
    for (const { id } of deadLetters) there.add(id);
  }
  const missing = ids
    .filter((id) => !there.has(id))
    .map((id): Outcome => ({ id: idOf(partition, id), outcome: "missing" }));
  if (!wait) return [...missing, ...[...there].map((id): Outcome => ({ id: idOf(partition, id), outcome: "asked" }))];

  let waiting = [...there];
  for (
    let untilMs = systemClock.now() + waitMs;
    waiting.length > 0 && systemClock.now() < untilMs && !signal.aborted;
  ) {
    await sleep(POLL_MS, signal);
    const still: string[] = [];
    for (const page of pagesOf(waiting)) still.push(...(await pendingReplays(redis, keys, page)));
    // As long as it goes on there is no hurry.
    if (still.length < waiting.length) untilMs = systemClock.now() + waitMs;
    waiting = still;
  }
  const successors = new Map<string, StoredDeadLetter[]>();
  for (let after = newest?.[0] ?? "-", page: StoredDeadLetter[] = []; ; after = page.at(-1)?.id ?? after) {
    page = await listDeadLetters(redis, keys, after, PAGE);
    for (const deadLetter of page)
      if (deadLetter.was !== undefined)
        successors.set(deadLetter.was, [...(successors.get(deadLetter.was) ?? []), deadLetter]);
    if (page.length < PAGE) break;
  }
  const reason = waiting.length > 0 ? await whyWaiting(redis, keys, isAlone) : "";
  const pending = new Set(waiting);
  return [
    ...missing,
    ...[...there].map((id): Outcome => {
      const known = { id: idOf(partition, id) };
      if (pending.has(id)) return { ...known, outcome: "waiting", reason };
      const failed = successors.get(id);
      if (!failed) return { ...known, outcome: "replayed" };
      const now = failed.map((deadLetter) => idOf(partition, deadLetter.id));
      return { ...known, outcome: "failed", reason: failed[0]?.reason ?? "", now };
    }),
  ];
}

async function whyWaiting(redis: Deployment["redis"], keys: PartitionKeys, isAlone: boolean): Promise<string> {
  const [until, [seconds]] = await Promise.all([redis.hget(keys.task, "until"), redis.time()]);
  return isAlone || Number(until ?? 0) <= Number(seconds) * 1_000
    ? "no worker runs this partition: start one (serve); it will do it then"
    : "its worker has not come to it yet, and will";
}

async function remove(reached: Deployment, groups: Group[], options: Options): Promise<Outcome[]> {
  const { redis } = reached;
  await loadStreamLibrary(redis);
  const outcomes: Outcome[] = [];
  for (const { partition, keys, ids } of groups) {
    for (const page of pagesOf(ids)) {
      const found = await findDeadLetters(redis, keys, page);
      if (found.length > 0)
        await note(
          reached,
          keys,
          "remove",
          found.map(({ id }) => id),
          options,
        );
      const removed = await removeDeadLetters(redis, keys, page);
      outcomes.push(
        ...page.map((id, i): Outcome => ({ id: idOf(partition, id), outcome: removed[i] ? "removed" : "missing" })),
      );
    }
  }
  return outcomes;
}

const WORDS: Record<Outcome["outcome"], string> = {
  replayed: "replayed",
  failed: "failed again",
  waiting: "not yet done",
  asked: "asked for",
  removed: "removed",
  missing: "is not there",
};
const DONE: readonly Outcome["outcome"][] = ["replayed", "asked", "removed"];

/** @throws EngineError when not everything was done: its message sums up */
function tell(outcomes: Outcome[], { json }: Options): void {
  for (const each of outcomes) {
    const { id, outcome, reason, now } = each;
    const place = now ? ` (now ${now.join(", ")})` : "";
    say(json ? JSON.stringify(each) : `${id}  ${WORDS[outcome]}${reason ? `: ${plain(reason)}` : ""}${place}`);
  }
  if (!json && outcomes.length === 0) say("no dead letters");
  const undone = outcomes.filter(({ outcome }) => !DONE.includes(outcome));
  if (undone.length > 0) throw failure(`${undone.length} of ${outcomes.length} letters: not done`);
}

/** `topic`, or `topic/sink`. */
const sourceOf = ({ from }: Options): [topic: string, sink: string | undefined] => {
  const [topic, sink] = from.split("/") as [string, string | undefined];
  return [topic, sink];
};

function* partitionsOf({ partitions }: Deployment, options: Options): Generator<Omit<Group, "ids">> {
  const { prefix, partition } = options;
  const [topic, sink] = sourceOf(options);
  if (partition !== undefined && partition >= partitions)
    throw badInput(OP, "--partition", `this deployment has ${partitions} partitions, from 0`);
  for (let p = partition ?? 0; p <= (partition ?? partitions - 1); p++)
    yield {
      partition: p,
      keys: sink === undefined ? partitionKeys(prefix, topic, p) : sinkKeys(prefix, topic, p, sink),
    };
}

async function* deadLettersOf(
  { redis }: Deployment,
  keys: PartitionKeys,
  { job }: Options,
): AsyncGenerator<StoredDeadLetter> {
  for (let after = "-"; ; ) {
    const page = await listDeadLetters(redis, keys, after, PAGE);
    for (const deadLetter of page) if (job === undefined || deadLetter.job === job) yield deadLetter;
    if (page.length < PAGE) return;
    after = page.at(-1)?.id ?? after;
  }
}

/** The letters that ids name, by partition; `all` names every one of the given partition and job. */
async function groupsOf(reached: Deployment, ids: readonly string[], options: Options): Promise<Group[]> {
  const groups = [...partitionsOf(reached, { ...options, partition: undefined })].map((group) => ({
    ...group,
    ids: [] as string[],
  }));
  for (const id of new Set(ids)) {
    if (id === "all") continue;
    const [, partition, deadLetter] = /^(\d{1,3})\/(\d{1,15}-\d{1,15})$/.exec(id) ?? [];
    const group = groups[Number(partition)];
    if (!group || deadLetter === undefined)
      throw badInput(
        OP,
        "ID",
        `${JSON.stringify(id)} is no letter's id of this deployment, such as 07/1718640000000-0`,
      );
    group.ids.push(deadLetter);
  }
  if (ids.includes("all")) {
    for (const { partition, keys } of partitionsOf(reached, options)) {
      const all = new Set(groups[partition]?.ids);
      for await (const { id } of deadLettersOf(reached, keys, options)) all.add(id);
      (groups[partition] as Group).ids = [...all];
    }
  }
  return groups.filter((group) => group.ids.length > 0);
}

function* pagesOf(ids: readonly string[]): Generator<string[]> {
  for (let from = 0; from < ids.length; from += PAGE) yield ids.slice(from, from + PAGE);
}

const idOf = (partition: number, id: string): string => `${String(partition).padStart(2, "0")}/${id}`;

function summaryOf(partition: number, deadLetter: StoredDeadLetter) {
  const { id, fields: _, was: __, first, ...rest } = deadLetter;
  return { id: idOf(partition, id), when: whenOf(first ?? id), ...rest };
}

/** Bytes as base64, and as text where they are some; the events when they can be read. */
function detailOf(partition: number, deadLetter: StoredDeadLetter, options: Options) {
  const fields = [];
  for (let i = 0; i < deadLetter.fields.length; i += 2) {
    const bytes = deadLetter.fields[i + 1] ?? Buffer.alloc(0);
    fields.push({ name: (deadLetter.fields[i] as Buffer).toString("latin1"), base64: bytes.toString("base64") });
  }
  return { ...summaryOf(partition, deadLetter), ...decodedOf(deadLetter, options), fields };
}

function decodedOf(deadLetter: StoredDeadLetter, options: Options): object {
  if (deadLetter.fields.length === 0) return {};
  const [topic, sink] = sourceOf(options);
  if (sink !== undefined) return { emit: emitOf(deadLetter) };
  try {
    const { events } = DECODERS[topic]?.(deadLetter) ?? { events: [] };
    return deadLetter.index === undefined
      ? { events }
      : { event: events.find(({ index }) => index === deadLetter.index) };
  } catch (thrown) {
    return { undecodable: messageOf(thrown) };
  }
}

function pageOf(partition: number, deadLetter: StoredDeadLetter, options: Options): string {
  const { fields, ...rest } = detailOf(partition, deadLetter, options);
  const lines: [string, string][] = Object.entries(rest).map(([name, value]) => [
    name,
    typeof value === "object" ? JSON.stringify(value) : plain(String(value)),
  ]);
  for (const { name, base64 } of fields) {
    const text = Buffer.from(base64, "base64").toString("latin1");
    lines.push([`field ${plain(name)}`, /^[ -~]{0,40}$/.test(text) ? text : `base64 ${base64}`]);
  }
  return `${lines.map(([name, value]) => `${name.padEnd(10)} ${value}`).join("\n")}\n`;
}

function lineOf(partition: number, deadLetter: StoredDeadLetter, options: Options): string {
  const { id, first, job, index, offset, timerMs, key, tries, reason } = deadLetter;
  const [, sink] = sourceOf(options);
  const part = sink === undefined ? "event" : "emit";
  const event = index === undefined ? `entry ${offset}` : `entry ${offset} ${part} ${index}`;
  const what = timerMs === undefined ? event : `timer ${timeOf(timerMs)}`;
  const cut = reason.length > REASON_SHOWN ? `${reason.slice(0, REASON_SHOWN)}…` : reason;
  return row([
    idOf(partition, id),
    whenOf(first ?? id),
    job ?? "-",
    what,
    plain(key ?? "-"),
    String(tries),
    plain(cut),
  ]);
}

const WIDTHS = [21, 24, 13, 30, 20, 5, 0];
const row = (cells: string[]): string =>
  cells
    .map((cell, i) => cell.padEnd(WIDTHS[i] ?? 0))
    .join("  ")
    .trimEnd();

const whenOf = (id: string): string => timeOf(deadLetterTimeMs(id));
/** A bad record may name any time. */
const timeOf = (ms: number): string => (Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`);

/** What a record says is not to steer a terminal. */
const plain = (text: string): string =>
  text.replace(/\p{Cc}/gu, (control) => `\\u${(control.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`);

const failure = (message: string): EngineError =>
  new EngineError(message, { op: OP, code: "not_done", retryable: false });

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};
