/**
 * The check of a simulated shop after all faults: clients received true answers, the log has no gap and explains every
 * balance, commits were applied in order by the owner of their time, and what the jobs have left (states, timers,
 * cursors, emits, dead letters) equals, byte for byte, what one run without faults over the same log leaves. In a
 * `fixed` shop the ledger, too, equals what the same commands leave without faults. The run without faults is the batch
 * processor in memory: no Redis, no lease, no restart.
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
import type { AnyJob, Emit } from "../../engine/stream/job.js";
import { type StockKeys, stockKeys } from "../../engine/stream/keys.js";
import { assertContiguous, field, type LogEntry } from "../../engine/stream/log.js";
import { decodeEmits, decodeOut } from "../../engine/stream/out-record.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { stateOf } from "../../engine/stream/state-codec.js";
import { Audit } from "./audit.js";
import { fixedTurns, jobsOf, type Plan, RETENTION_DAYS, START_MS } from "./faults-plan.js";
import { entriesOf, linesOf, type World } from "./faults-world.js";

/** Offsets of a record of a remembered id, as ledger.lua packs it. */
const RECORD_KIND = 0;
const RECORD_OUTCOME = 1;
const RECORD_STATE = 2;
const RECORD_UNITS = 16;
const RECORD_CELL = 32;
const RESERVE = 4;
const SELLABLE = 1;
const RECORD_POOL = 3;

/** Throws on the first difference. */
export async function checkShop(client: RedisClient, world: World): Promise<void> {
  const { plan, prefix } = world;
  const events: StockEvent[] = [];
  for (let partition = 0; partition < plan.partitions; partition++) {
    const keys = stockKeys(prefix, partition);
    const log = await wholeStream(client, world, keys.log);
    assertContiguous(log, 0, keys.log);
    same("the head's offset", Number((await client.hget(keys.head, "offset")) ?? 0), log.length);
    const own = log.flatMap((entry) => eventsOf(entry).events);
    events.push(...own);
    await checkBalances(client, keys, own);
    await checkLines(client, world, keys, own);
    await checkTask(client, world, keys, log);
  }
  checkAnswers(world, events);
  checkDemand(world, events);
  await checkOrders(client, world, events);
  if (plan.kind === "fixed") await checkFixed(client, world);
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
async function checkBalances(client: RedisClient, keys: StockKeys, events: readonly StockEvent[]): Promise<void> {
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
  // Outbound goods are always recorded; two events when they left two pools.
  LineOutbound: [LINE_STATES.filter((state) => state !== "none"), "outbound"],
  LineSuspended: [["paid"], "cancelling"],
  LineResumed: [["cancelling"], "paid"],
};

/**
 * Each line's events make sense one after the other and end where its record stands; reserved units are those of held
 * lines.
 */
async function checkLines(
  client: RedisClient,
  world: World,
  keys: StockKeys,
  events: readonly StockEvent[],
): Promise<void> {
  const states = new Map<string, LineState>();
  /** Reserved and committed units of each line. */
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
    const [allowed, after] = NEXT_STATE[type] ?? [];
    if (!allowed || !after) continue;
    if (!allowed.includes(before)) throw new Error(`${id}: ${type} while ${before}`);
    states.set(id, after);
  }
  const reserved = new Map<string, number>();
  for (const bucket of world.buckets) {
    if (!bucket.startsWith(keys.linesBase)) continue;
    for (const [id, record] of Object.entries(await client.hgetallBuffer(bucket))) {
      if (record[RECORD_KIND] !== RESERVE || record[RECORD_OUTCOME] !== 0) continue;
      const state = LINE_STATES[record[RECORD_STATE] as number] as LineState;
      const logged = states.get(id) ?? "none";
      // A line whose hold has expired moves no units when it is cancelled or its payment is refused: no event is
      // logged.
      const isSilent = (state === "cancelled" || state === "unpaid") && (logged === "expired" || logged === "unpaid");
      if (state !== logged && !isSilent) throw new Error(`${id}: is ${state}, the log has ${logged}`);
      const isSellable = ((record[RECORD_POOL] as number) & POOL_MASK) === SELLABLE;
      const units = record.readDoubleLE(RECORD_UNITS);
      const isCommitted = state === "paid" || state === "cancelling";
      // In a fixed shop committed units are corrected away, and units are missing.
      if (isSellable && world.plan.kind !== "fixed")
        same(`units of ${id}, ${state}`, own.get(id) ?? { reserved: 0, committed: 0 }, {
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

/** Jobs have left what a run without faults leaves, and every emit was sent once, in order. */
async function checkTask(client: RedisClient, world: World, keys: StockKeys, log: readonly LogEntry[]): Promise<void> {
  const { plan } = world;
  const quiet = await runWithoutFaults(plan, log);
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

  for (const job of jobsOf(plan)) {
    const { name } = job;
    const found = await client.hgetallBuffer(keys.state(name));
    const wanted = quiet.states.get(name) ?? new Map<string, Buffer>();
    same(`keys of ${name}`, Object.keys(found).sort(), [...wanted.keys()].sort());
    for (const [key, state] of wanted)
      if (!state.equals(found[key] as Buffer))
        same(`state of ${key} in ${name}`, stateOf(job, key, found[key] as Buffer), stateOf(job, key, state));
  }
  const flat = await client.zrange(keys.timers, "0", "-1", "WITHSCORES");
  const timers = Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], Number(flat[2 * i + 1])]);
  same("timers", timers.sort(byName), [...quiet.timers].sort(byName));

  const emits: Emit[] = [];
  const viewed: Emit[] = [];
  let previous = 0;
  for (const { offset: commit, fields } of await wholeStream(client, world, keys.out)) {
    const out = decodeOut(field({ offset: commit, fields }, "r") as Buffer);
    same(`the commit before ${commit} with a record for views`, out.previous, previous);
    if (commit <= previous || commit > commits.length) throw new Error(`commit ${commit} was never applied`);
    previous = commit;
    viewed.push(...out.emits);
  }
  previous = 0;
  for (const { offset: commit, fields } of await wholeStream(client, world, keys.emits)) {
    const record = decodeEmits(field({ offset: commit, fields }, "r") as Buffer);
    same(`the commit before ${commit} that emitted something`, record.previous, previous);
    if (commit <= previous || commit > commits.length) throw new Error(`commit ${commit} was never applied`);
    previous = commit;
    emits.push(...record.emits);
  }
  same("the emits that views get", viewed, emits.filter(isViewed(jobsOf(world.plan))));
  same("the number of emits", emits.length, quiet.emits.length);
  for (const [i, emit] of emits.entries()) same(`emit ${i + 1}`, emit, quiet.emits[i]);
  const deadLetterIds = (await listDeadLetters(client, keys, "-", 100_000)).map(({ id }) => id);
  const deadLetters = (await readDeadLetters(client, keys, deadLetterIds)).map(({ id: _, ...deadLetter }) =>
    plainDeadLetter(deadLetter),
  );
  same("dead letters", deadLetters, quiet.deadLetters);
}

const isViewed = (jobs: readonly AnyJob<StockEvent>[]) => (emit: Emit) =>
  jobs.some(({ name, viewedEmits = [] }) => name === emit.job && viewedEmits.includes(emit.kind));

const byName = (a: unknown[], b: unknown[]): number => (String(a[0]) < String(b[0]) ? -1 : 1);

/** The jobs over a whole log, in memory. */
async function runWithoutFaults(plan: Plan, log: readonly LogEntry[]) {
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
function checkAnswers(world: World, events: readonly StockEvent[]): void {
  const times = new Map<string, number>();
  for (const { id } of events) times.set(id, (times.get(id) ?? 0) + 1);
  for (const [id, { outcome }] of world.clients.answers)
    same(`events of ${id}, ${outcome}`, times.get(id) ?? 0, isAccepted(outcome) ? 1 : 0);
}

/** Every order that was accepted is demand once, each line of it; one that was refused is none (R9). */
function checkDemand(world: World, events: readonly StockEvent[]): void {
  const times = new Map<string, number>();
  for (const { type, id, from, uncounted } of events)
    if (type === "LineAccepted" || (type === "StockReserved" && from === "sellable" && !uncounted))
      times.set(id, (times.get(id) ?? 0) + 1);
  for (const { order, replies, isVoid, acceptedSteps } of world.clients.orders) {
    if (isVoid) continue;
    for (const id of linesOf(order))
      same(
        `times that ${id} counts, replies ${replies.join(", ")}`,
        times.get(id) ?? 0,
        acceptedSteps.length > 0 ? 1 : 0,
      );
  }
}

/** An order's steps agree with the states of its lines. */
function checkSteps(what: string, states: readonly LineState[], { hasStep }: OrderStatus): void {
  const isCancelled = (state: LineState) => state === "cancelled" || state === "cancelled_paid";
  const every = (is: (state: LineState) => boolean) => states.every(is);
  const fail = (why: string) => {
    throw new Error(`${what}: ${why}, and its lines are ${states.join(", ")}`);
  };
  if (hasStep("cancelled") && !every((state) => isCancelled(state) || state === "outbound")) fail("it is cancelled");
  if (!hasStep("cancelled") && every(isCancelled)) fail("it is not cancelled");
  if (!hasStep("outbound") && every((state) => state === "outbound")) fail("it is not outbound");
  if (!hasStep("locked") && every((state) => state === "paid")) fail("it is not locked for the warehouse");
  const isAsked = hasStep("cancelling") && hasStep("locked") && !hasStep("cancellation_refused");
  if (!isAsked && states.includes("cancelling")) fail("the warehouse is not asked");
}

/** Every line has a state that the replies allow, and no attempt was accepted for a line that has no such state. */
async function checkOrders(client: RedisClient, world: World, events: readonly StockEvent[]): Promise<void> {
  const ledger = new Ledger({ redis: client, prefix: world.prefix, partitions: world.plan.partitions });
  const newestMs = new Map(events.map(({ id, clockMs }) => [id, clockMs]));
  const orderStore = new OrderStore({
    redis: client,
    prefix: world.prefix,
    partitions: world.plan.partitions,
    keepSeconds: 0,
  });
  for (const tracked of world.clients.orders) {
    const { order, allowed: allowedOfAll, allowedOfLine, replies, repliedMs, isVoid, acceptedSteps } = tracked;
    if (isVoid) continue;
    const ids = linesOf(order);
    const lines = await ledger.recall(order.lines.map(({ sku }, i) => ({ id: ids[i] as string, sku })));
    const status = await orderStore.status(order.id);
    const states = lines.map((line) => line?.state ?? "none");
    if (status) checkSteps(`${order.id}, replies ${replies.join(", ")}`, states, status);
    for (const [i, line] of lines.entries()) {
      const id = ids[i] as string;
      const allowed = allowedOfLine.get(i) ?? allowedOfAll;
      const state = line?.state ?? "none";
      // The hold may expire before it is undone, with the same result; but nothing is held after a refusal.
      const isFree = allowed.includes("none") && state === "expired" && (newestMs.get(id) ?? 0) <= repliedMs;
      // A request that its client no longer waits for may get its attempt number after the refusal that the client
      // received. It is then the newest attempt, and it was accepted.
      const isGrantedLate =
        (state === "paid" && allowed.includes("unpaid") && acceptedSteps.includes("pay")) ||
        (state === "held" && allowed.includes("none") && acceptedSteps.includes("place"));
      if (isGrantedLate) world.grantedLate++;
      else if (!isFree && !allowed.includes(state))
        throw new Error(`${id} is ${state}; the replies were ${replies.join(", ")}`);
      const isWrong = acceptedSteps.includes("place")
        ? state === "none"
        : acceptedSteps.includes("pay") && state === "unpaid";
      if (isWrong)
        throw new Error(`${id} is ${state}, but an attempt was accepted; the replies were ${replies.join(", ")}`);
    }
  }
}

/** The ledger of a `fixed` shop is what the same commands leave without faults. */
async function checkFixed(client: RedisClient, world: World): Promise<void> {
  const { plan, seed } = world;
  const { partitions } = plan;
  const prefix = `${world.prefix}-quiet`;
  const clock = new ManualClock(START_MS);
  const ledger = new Ledger({ redis: client, prefix, partitions, clock, idRetentionDays: RETENTION_DAYS });
  for (const [i, { atMs, command }] of fixedTurns(seed, plan.turns).entries()) {
    clock.moveTo(atMs);
    if (command) {
      const { outcome, state } = await ledger.apply(command);
      const answer = world.clients.fixedAnswers[i] as Reply;
      // A repeated request is answered by the line's state: a paid line stays paid, and an undone payment cannot be
      // undone again.
      const isAgain =
        (command.kind === "unpay" && answer.outcome === "superseded") ||
        (command.kind === "pay" && outcome === "admitted_anew" && answer.outcome === "accepted" && answer.repeated);
      if (!isAgain) same(`the answer to turn ${i + 1}`, [answer.outcome, answer.state], [outcome, state]);
    } else for (let partition = 0; partition < partitions; partition++) await ledger.tick(partition);
  }
  for (let partition = 0; partition < partitions; partition++) {
    const found = stockKeys(world.prefix, partition);
    const wanted = stockKeys(prefix, partition);
    // A repeated command may be in one batch with the first: the same events in other bytes. A late or repeated tick
    // may append an entry without events that advances the clock, and later offsets are then higher.
    const events = (log: readonly LogEntry[]) =>
      log.flatMap((entry) => eventsOf(entry).events.map(({ index: _, offset: __, ...event }) => event));
    same("the log", events(await wholeStream(client, world, found.log)), events(await entriesOf(client, wanted.log)));
    // The clock is written with the next change, and a late repeated command may write it too. The head cache (stored
    // name `seal`) holds the time when a hold may be due, which may differ.
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
