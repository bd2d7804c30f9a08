/**
 * What must be true of a shop after all faults: everybody was told the truth, the log has no gap and explains every
 * balance, commits were applied one after the other by the owner of their time, and what the jobs have left (states,
 * timers, cursors, emits, dead letters) is to the byte what one quiet run over the same log leaves. In a `fixed` shop
 * the ledger, too, is to the byte what the same commands leave without faults. The quiet run is the jobs' step in
 * memory, all entries at once: no Redis, no lease, no restart.
 */
import { isDeepStrictEqual } from "node:util";
import { chainIdDay } from "../../engine/kernel/chain-id.js";
import { ManualClock } from "../../engine/kernel/clock.js";
import type { OrderStatus } from "../../engine/orders/order-record.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import {
  type Balances,
  CELL_SEPARATOR,
  emptyBalances,
  isAccepted,
  LINE_STATES,
  type LineState,
  POOLS,
  type Reply,
  type StockEvent,
} from "../../engine/stock/model.js";
import { POOL_MASK } from "../../engine/stock/records.js";
import { stockTopic } from "../../engine/stock/topic.js";
import { BatchProcessor } from "../../engine/stream/batch-processor.js";
import { readTask } from "../../engine/stream/commit.js";
import { type DeadLetter, listDeadLetters, readDeadLetters } from "../../engine/stream/dead-letter.js";
import { type StockKeys, stockKeys } from "../../engine/stream/keys.js";
import { assertContiguous, field, type LogEntry } from "../../engine/stream/log.js";
import { decodeOut } from "../../engine/stream/out-record.js";
import { decodeState } from "../../engine/stream/pack.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Audit } from "./audit.js";
import {
  entriesOf,
  fixedTurns,
  jobsOf,
  linesOf,
  type Plan,
  RETENTION_DAYS,
  START_MS,
  type World,
} from "./faults-world.js";

/** Offsets of a record of a remembered id, as ledger.lua packs it. */
const RECORD_KIND = 0;
const RECORD_OUTCOME = 1;
const RECORD_STATE = 2;
const RECORD_UNITS = 16;
const RECORD_CELL = 32;
const RESERVE = 4;
const SELLABLE = 1;
const RECORD_POOL = 3;

/** Throws on the first thing that is not as it must be. */
export async function judge(client: RedisClient, world: World): Promise<void> {
  const { plan, prefix } = world;
  const events: StockEvent[] = [];
  for (let partition = 0; partition < plan.partitions; partition++) {
    const keys = stockKeys(prefix, partition);
    const log = await wholeStream(client, world, keys.log);
    assertContiguous(log, 0, keys.log);
    same("the head's offset", Number((await client.hget(keys.head, "offset")) ?? 0), log.length);
    const own = log.flatMap((entry) => eventsOf(entry).events);
    events.push(...own);
    await judgeBalances(client, keys, own);
    await judgeLines(client, world, keys, own);
    await judgeTask(client, world, keys, log);
  }
  judgeAnswers(world, events);
  judgeDemand(world, events);
  await judgeOrders(client, world, events);
  if (plan.kind === "fixed") await judgeFixed(client, world);
}

function same(what: string, found: unknown, wanted: unknown): void {
  if (isDeepStrictEqual(found, wanted)) return;
  const text = (value: unknown) => JSON.stringify(value, (_, each) => (each instanceof Map ? [...each] : each));
  throw new Error(`${what}: found ${text(found)}, expected ${text(wanted)}`);
}

async function wholeStream(client: RedisClient, world: World, key: string): Promise<LogEntry[]> {
  return [...(world.trimmed.get(key) ?? []), ...(await entriesOf(client, key))];
}

/** The log explains every balance. */
async function judgeBalances(client: RedisClient, keys: StockKeys, events: readonly StockEvent[]): Promise<void> {
  const audit = new Audit();
  for (const event of events) audit.fold(event);
  for (const sku of new Set(events.map((event) => event.sku))) audit.checkSum(sku);
  for (const [cell, packed] of Object.entries(await client.hgetallBuffer(keys.cells))) {
    if (cell.endsWith(CELL_SEPARATOR)) continue;
    same(`balances of ${cell}`, balancesOf(packed), audit.cells.get(cell) ?? emptyBalances());
    audit.cells.delete(cell);
  }
  for (const [cell, balances] of audit.cells) same(`balances of ${cell} by the log`, balances, emptyBalances());
}

function balancesOf(packed: Buffer): Balances {
  const balances = emptyBalances();
  for (const [i, pool] of POOLS.entries()) balances[pool] = packed.readDoubleLE(i * 8);
  return balances;
}

const NEXT_STATE: Readonly<Partial<Record<StockEvent["type"], readonly [from: LineState[], to: LineState]>>> = {
  StockReserved: [["none"], "held"],
  LineAborted: [["held"], "none"],
  LinePaid: [["held", "expired", "unpaid"], "paid"],
  LineUnpaid: [["paid"], "unpaid"],
  LineExpired: [["held"], "expired"],
  // Goods that have left are a fact; two events when they left two pools.
  LineOutbound: [LINE_STATES.filter((state) => state !== "none"), "outbound"],
  LineSuspended: [["paid"], "cancelling"],
  LineResumed: [["cancelling"], "paid"],
};

/**
 * Each line's events make sense one after the other and end where its record stands; reserved units are those of held
 * lines.
 */
async function judgeLines(
  client: RedisClient,
  world: World,
  keys: StockKeys,
  events: readonly StockEvent[],
): Promise<void> {
  const states = new Map<string, LineState>();
  /** What each line has of the units in these two. */
  const own = new Map<string, { reserved: number; committed: number }>();
  for (const { type, id, from, to: into, units } of events) {
    if (type === "LineCancelled" || NEXT_STATE[type]) {
      const has = own.get(id) ?? { reserved: 0, committed: 0 };
      own.set(id, has);
      if (from === "reserved" || from === "committed") has[from] -= units;
      if (into === "reserved" || into === "committed") has[into] += units;
      if (has.reserved < 0 || has.committed < 0) throw new Error(`${id}: ${type} takes units that are not the line's`);
    }
    const before = states.get(id) ?? "none";
    if (type === "LineCancelled") {
      if (before !== "held" && before !== "paid" && before !== "cancelling")
        throw new Error(`${id}: cancelled while ${before}`);
      states.set(id, before === "held" ? "cancelled" : "cancelled_paid");
      continue;
    }
    const [may, after] = NEXT_STATE[type] ?? [];
    if (!may || !after) continue;
    if (!may.includes(before)) throw new Error(`${id}: ${type} while ${before}`);
    states.set(id, after);
  }
  const reserved = new Map<string, number>();
  for (const bucket of world.buckets) {
    if (!bucket.startsWith(keys.linesBase)) continue;
    for (const [id, record] of Object.entries(await client.hgetallBuffer(bucket))) {
      if (record[RECORD_KIND] !== RESERVE || record[RECORD_OUTCOME] !== 0) continue;
      const state = LINE_STATES[record[RECORD_STATE] as number] as LineState;
      const told = states.get(id) ?? "none";
      // A line whose hold had run out moves nothing when it is cancelled, or its payment refused, so the log does not
      // tell.
      const isSilent = (state === "cancelled" || state === "unpaid") && (told === "expired" || told === "unpaid");
      if (state !== told && !isSilent) throw new Error(`${id}: is ${state}, the log says ${told}`);
      const isSellable = ((record[RECORD_POOL] as number) & POOL_MASK) === SELLABLE;
      const units = record.readDoubleLE(RECORD_UNITS);
      const isCommitted = state === "paid" || state === "cancelling";
      // In a fixed shop committed units are corrected away, and units are missing.
      if (isSellable && world.plan.kind !== "fixed")
        same(`what ${id}, ${state}, has of the units`, own.get(id) ?? { reserved: 0, committed: 0 }, {
          reserved: state === "held" ? units : 0,
          committed: isCommitted ? units : 0,
        });
      if (state !== "held" || !isSellable) continue;
      const cell = record.subarray(RECORD_CELL).toString();
      reserved.set(cell, (reserved.get(cell) ?? 0) + record.readDoubleLE(RECORD_UNITS));
    }
  }
  for (const [cell, packed] of Object.entries(await client.hgetallBuffer(keys.cells))) {
    if (cell.endsWith(CELL_SEPARATOR)) continue;
    same(`reserved of ${cell} by its lines`, balancesOf(packed).reserved, reserved.get(cell) ?? 0);
  }
}

/** Jobs have left what a quiet run leaves, and every emit has left once, in its order. */
async function judgeTask(client: RedisClient, world: World, keys: StockKeys, log: readonly LogEntry[]): Promise<void> {
  const { plan } = world;
  const quiet = await quietRun(plan, log);
  const task = await readTask(client, keys);
  const cursors = jobsOf(plan).map(({ name }): [string, number] => [name, log.length]);
  // Without a first entry there has been no commit.
  same("cursors", task.cursors, new Map(log.length > 0 ? cursors : []));
  same("the watermark", task.watermarkMs, quiet.watermarkMs);
  same("events seen", task.events, quiet.events);
  const commits = world.commits.get(keys.task) ?? [];
  same("the last commit", task.commit, commits.length);
  for (const [i, { epoch }] of commits.entries())
    if (i > 0 && epoch < (commits[i - 1]?.epoch ?? 0)) throw new Error(`commit ${i + 1} is of an older owner`);

  for (const { name } of jobsOf(plan)) {
    const found = await client.hgetallBuffer(keys.state(name));
    const wanted = quiet.states.get(name) ?? new Map<string, Buffer>();
    same(`keys of ${name}`, Object.keys(found).sort(), [...wanted.keys()].sort());
    for (const [key, state] of wanted)
      if (!state.equals(found[key] as Buffer))
        same(`state of ${key} in ${name}`, decodeState(found[key] as Buffer), decodeState(state));
  }
  const flat = await client.zrange(keys.timers, "0", "-1", "WITHSCORES");
  const timers = Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], Number(flat[2 * i + 1])]);
  same("timers", timers.sort(byName), [...quiet.timers].sort(byName));

  const emits: unknown[] = [];
  let previous = 0;
  for (const { offset: commit, fields } of await wholeStream(client, world, keys.out)) {
    const out = decodeOut(field({ offset: commit, fields }, "r") as Buffer);
    same(`the commit before ${commit} that gave something out`, out.previous, previous);
    if (commit <= previous || commit > commits.length) throw new Error(`commit ${commit} was never applied`);
    previous = commit;
    emits.push(...out.emits);
  }
  same("the number of emits", emits.length, quiet.emits.length);
  for (const [i, emit] of emits.entries()) same(`emit ${i + 1}`, emit, quiet.emits[i]);
  const deadLetterIds = (await listDeadLetters(client, keys, "-", 100_000)).map(({ id }) => id);
  const deadLetters = (await readDeadLetters(client, keys, deadLetterIds)).map(({ id: _, ...deadLetter }) =>
    plainDeadLetter(deadLetter),
  );
  same("dead letters", deadLetters, quiet.deadLetters);
}

const byName = (a: unknown[], b: unknown[]): number => (String(a[0]) < String(b[0]) ? -1 : 1);

/** The jobs over a whole log, in memory. */
async function quietRun(plan: Plan, log: readonly LogEntry[]) {
  const topic = stockTopic(new Ledger({ redis: undefined as never, prefix: "", partitions: plan.partitions }));
  const step = new BatchProcessor<StockEvent>({
    topic,
    jobs: jobsOf(plan),
    cursors: new Map(),
    watermarkMs: 0,
    timers: [],
    loadStates: async (_, keys) => keys.map(() => null),
    withViews: false,
  });
  const body = await step.process(log, 0, true);
  return {
    watermarkMs: body.watermarkMs,
    events: body.events,
    states: new Map(body.states.map(({ job, set }) => [job, new Map(set)])),
    timers: body.timersSet.map(([atMs, member]): [string, number] => [member, atMs]),
    emits: body.out ? decodeOut(body.out).emits : [],
    deadLetters: body.deadLetters.map(plainDeadLetter),
  };
}

/** Its bytes as text: a decoder leaves notes of its own on the buffers that it has read. */
const plainDeadLetter = ({ fields, ...deadLetter }: DeadLetter) => ({
  ...deadLetter,
  fields: fields.map((bytes) => bytes.toString("hex")),
});

/** A command that was accepted is in the log once, one that was refused is not. */
function judgeAnswers(world: World, events: readonly StockEvent[]): void {
  const times = new Map<string, number>();
  for (const { id } of events) times.set(id, (times.get(id) ?? 0) + 1);
  for (const [id, { outcome }] of world.answers)
    same(`events of ${id}, ${outcome}`, times.get(id) ?? 0, isAccepted(outcome) ? 1 : 0);
}

/** Every order that was accepted is demand once, each line of it; one that was refused is none (R9). */
function judgeDemand(world: World, events: readonly StockEvent[]): void {
  const times = new Map<string, number>();
  for (const { type, id, from, uncounted } of events)
    if (type === "LineAccepted" || (type === "StockReserved" && from === "sellable" && !uncounted))
      times.set(id, (times.get(id) ?? 0) + 1);
  for (const { order, told, isVoid, saidYes } of world.orders) {
    if (isVoid) continue;
    for (const id of linesOf(order))
      same(`times that ${id} counts, told ${told.join(", ")}`, times.get(id) ?? 0, saidYes.length > 0 ? 1 : 0);
  }
}

/** An order's steps say what its lines do. */
function judgeSteps(what: string, states: readonly LineState[], { hasStep }: OrderStatus): void {
  const isGone = (state: LineState) => state === "cancelled" || state === "cancelled_paid";
  const every = (is: (state: LineState) => boolean) => states.every(is);
  const fail = (why: string) => {
    throw new Error(`${what}: ${why}, and its lines are ${states.join(", ")}`);
  };
  if (hasStep("cancelled") && !every((state) => isGone(state) || state === "outbound")) fail("it is cancelled");
  if (!hasStep("cancelled") && every(isGone)) fail("it is not cancelled");
  if (!hasStep("outbound") && every((state) => state === "outbound")) fail("it is not outbound");
  if (!hasStep("locked") && every((state) => state === "paid")) fail("it is not on its way to the warehouse");
  const isAsked = hasStep("cancelling") && hasStep("locked") && !hasStep("cancellation_refused");
  if (!isAsked && states.includes("cancelling")) fail("the warehouse is not asked");
}

/** Every line stands where its client was told, and no try has said yes to what does not stand. */
async function judgeOrders(client: RedisClient, world: World, events: readonly StockEvent[]): Promise<void> {
  const ledger = new Ledger({ redis: client, prefix: world.prefix, partitions: world.plan.partitions });
  const newestMs = new Map(events.map(({ id, clockMs }) => [id, clockMs]));
  const orderStore = new OrderStore({
    redis: client,
    prefix: world.prefix,
    partitions: world.plan.partitions,
    keepSeconds: 0,
  });
  for (const { order, may: mayOfAll, mayOfLine, told, toldMs, isVoid, saidYes } of world.orders) {
    if (isVoid) continue;
    const ids = linesOf(order);
    const replies = await ledger.recall(order.lines.map(({ sku }, i) => ({ id: ids[i] as string, sku })));
    const standing = await orderStore.status(order.id);
    const states = replies.map((reply) => reply?.state ?? "none");
    if (standing) judgeSteps(`${order.id}, told ${told.join(", ")}`, states, standing);
    for (const [i, reply] of replies.entries()) {
      const id = ids[i] as string;
      const may = mayOfLine.get(i) ?? mayOfAll;
      const state = reply?.state ?? "none";
      // Its hold was over before it could be undone, which comes to the same; but nothing is held after a no.
      const isFree = may.includes("none") && state === "expired" && (newestMs.get(id) ?? 0) <= toldMs;
      // A request that its client had given up may take its number after the no that the client was told: then it is
      // the newest, and was told yes.
      const isGrantedLate =
        (state === "paid" && may.includes("unpaid") && saidYes.includes("pay")) ||
        (state === "held" && may.includes("none") && saidYes.includes("place"));
      if (isGrantedLate) world.grantedLate++;
      else if (!isFree && !may.includes(state))
        throw new Error(`${id} is ${state}; its client was told ${told.join(", ")}`);
      const isFalse = saidYes.includes("place") ? state === "none" : saidYes.includes("pay") && state === "unpaid";
      if (isFalse)
        throw new Error(`${id} is ${state}, but some try has said yes; its client was told ${told.join(", ")}`);
    }
  }
}

/** The ledger of a `fixed` shop is what the same commands leave without faults. */
async function judgeFixed(client: RedisClient, world: World): Promise<void> {
  const { plan, seed } = world;
  const { partitions } = plan;
  const prefix = `${world.prefix}-quiet`;
  const clock = new ManualClock(START_MS);
  const ledger = new Ledger({ redis: client, prefix, partitions, clock, idRetentionDays: RETENTION_DAYS });
  for (const [i, { atMs, command }] of fixedTurns(seed, plan.turns).entries()) {
    clock.moveTo(atMs);
    if (command) {
      const { outcome, state } = await ledger.apply(command);
      const answer = world.fixedAnswers[i] as Reply;
      // What is asked for again is answered by where the line stands: paid is paid, and what was taken back cannot be
      // taken back once more.
      const isAgain =
        (command.kind === "unpay" && answer.outcome === "superseded") ||
        (command.kind === "pay" && outcome === "admitted_anew" && answer.outcome === "accepted" && answer.repeated);
      if (!isAgain) same(`the answer to turn ${i + 1}`, [answer.outcome, answer.state], [outcome, state]);
    } else for (let partition = 0; partition < partitions; partition++) await ledger.tick(partition);
  }
  for (let partition = 0; partition < partitions; partition++) {
    const found = stockKeys(world.prefix, partition);
    const wanted = stockKeys(prefix, partition);
    // A command that its client has sent again may lie in one batch with the first sending: the same events in other
    // bytes. A tick that is done late, or twice, may find that the clock has moved and write it down: an entry without
    // events, and higher offsets after it.
    const events = (log: readonly LogEntry[]) =>
      log.flatMap((entry) => eventsOf(entry).events.map(({ index: _, offset: __, ...event }) => event));
    same("the log", events(await wholeStream(client, world, found.log)), events(await entriesOf(client, wanted.log)));
    // How far the clock has come is written with the next change; a repeated command that comes late may bring it,
    // too. The seal tells when a hold may be due, which is early enough in both and not always the same.
    const head = async (key: string) =>
      (await hashOf(client, key)).filter(([field]) => !["clock", "seal", "offset"].includes(field));
    same("the head", await head(found.head), await head(wanted.head));
    for (const name of ["cells", "breakers"] as const)
      same(name, await hashOf(client, found[name]), await hashOf(client, wanted[name]));
    same(
      "holds",
      await client.zrange(found.holds, "0", "-1", "WITHSCORES"),
      await client.zrange(wanted.holds, "0", "-1", "WITHSCORES"),
    );
    for (const day of new Set(
      fixedTurns(seed, plan.turns).flatMap(({ command }) => (command ? [chainIdDay(command.id)] : [])),
    ))
      same(`ids of day ${day}`, await hashOf(client, found.lines(day)), await hashOf(client, wanted.lines(day)));
  }
}

async function hashOf(client: RedisClient, key: string): Promise<[string, string][]> {
  const all = Object.entries(await client.hgetallBuffer(key));
  return all.map(([name, value]): [string, string] => [name, value.toString("hex")]).sort(byName);
}
