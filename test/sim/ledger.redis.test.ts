/**
 * Random commands through the pure rules and through the function in Redis, side by side. After every batch replies,
 * balances, events and clock must agree, and an audit without rules must find every unit in the log. A run passes only
 * when every outcome, command and line state has occurred. A failure prints its seed, and SHUIWEI_SEED=… replays it
 * exactly; COMMANDS and LEDGER_SEEDS make longer runs. Races between clients are not tested here.
 */
import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../../engine/kernel/clock.js";
import { type Random, secureBytes, seededRandom } from "../../engine/kernel/random.js";
import { type BreakerScope, isBreakerEvent } from "../../engine/stock/breaker.js";
import { Ledger } from "../../engine/stock/ledger.js";
import { eventsOf } from "../../engine/stock/log-entry.js";
import {
  type Balances,
  CELL_SEPARATOR,
  emptyBalances,
  KINDS,
  LINE_STATES,
  OUTCOMES,
  POOLS,
  type Reply,
  type StockCommand,
  type StockEvent,
} from "../../engine/stock/model.js";
import { LATEST_FORMAT } from "../../engine/stream/format.js";
import { stockKeys } from "../../engine/stream/keys.js";
import { assertContiguous, readLog } from "../../engine/stream/log.js";
import { withRedis } from "../redis/with-redis.js";
import { Audit } from "./audit.js";
import { CommandStream, LOCATIONS, SKUS } from "./commands.js";
import { BREAKER_EVENTS_FORMAT, Reference } from "./reference.js";

const COMMANDS = Number(process.env["COMMANDS"] ?? 40_000);
const SEEDS = Number(process.env["LEDGER_SEEDS"] ?? 1);
const GIVEN_SEED = process.env["SHUIWEI_SEED"];
const START_MS = Date.UTC(2026, 5, 17, 16);
/** Short, so that days are retired often. */
const RETENTION_DAYS = 3;
const BATCH_LIMIT = 500;
/** After so many steps everything in Redis is compared, not only the changed cells. */
const FULL_CHECK_STEPS = 200;
const LIMIT_MS = 60_000 + SEEDS * COMMANDS * 2;

const redis = withRedis();

describe("the ledger and its reference", () => {
  const seeds =
    GIVEN_SEED === undefined
      ? Array.from({ length: SEEDS }, () => secureBytes(4).readUInt32LE())
      : [Number(GIVEN_SEED)];

  it.each([
    [LATEST_FORMAT, COMMANDS],
    // Format 1; a quarter of the commands, because its rules have not changed.
    [1, COMMANDS / 4],
  ])(
    "agrees with the pure rules over random commands in format %i, %i of them",
    async (format, wanted) => {
      for (const seed of seeds) {
        const simulation = await Simulation.start(seed, format);
        try {
          await simulation.run(wanted);
        } catch (cause) {
          const { step, commands } = simulation;
          throw new Error(
            `SHUIWEI_SEED=${seed} COMMANDS=${COMMANDS} in format ${format}: step ${step}, command ${commands}: ${(cause as Error).message}`,
            { cause },
          );
        }
      }
    },
    LIMIT_MS,
  );

  it("gives the same results however commands are divided into batches", async () => {
    const seed = GIVEN_SEED === undefined ? secureBytes(4).readUInt32LE() : Number(GIVEN_SEED);
    const commands = new CommandStream(seededRandom(seed), START_MS, RETENTION_DAYS).take(6_000);
    const runs = [];
    for (const size of [1, 7, 500]) runs.push(await applyInBatches(size, seed, commands));
    const [single, ...others] = runs;
    expect(single?.events.length).toBeGreaterThan(1_000);
    for (const run of others) {
      for (let i = 0; i < commands.length; i++)
        expect(run.replies[i], `SHUIWEI_SEED=${seed} command ${i}`).toEqual(single?.replies[i]);
      expect(run.events, `SHUIWEI_SEED=${seed}`).toEqual(single?.events);
      expect(run.cells, `SHUIWEI_SEED=${seed}`).toEqual(single?.cells);
    }
  });
});

async function applyInBatches(size: number, seed: number, commands: readonly StockCommand[]) {
  const client = redis.connect();
  await Ledger.load(client);
  const prefix = `batches-${seed}-${size}`;
  const clock = new ManualClock(START_MS);
  const ledger = new Ledger({ redis: client, prefix, partitions: 1, clock, idRetentionDays: RETENTION_DAYS });
  await ledger.breakers.set({ kind: "sku", sku: "CUP-BLUE" }, "open", { actor: "sim", reason: "drill", forMs: 60_000 });
  const replies: Reply[] = [];
  for (let first = 0; first < commands.length; first += size)
    replies.push(...(await ledger.applyMany(commands.slice(first, first + size))));
  const keys = stockKeys(prefix, 0);
  const entries = await readLog(client, keys.log, 0, 100_000);
  assertContiguous(entries, 0, keys.log);
  const events = entries.flatMap((entry) => eventsOf(entry).events).map(({ offset: _, index: __, ...event }) => event);
  return { replies, events, cells: await cellsOf(client, keys.cells) };
}

type Client = ReturnType<typeof redis.connect>;

async function cellsOf(client: Client, key: string): Promise<Map<string, Balances>> {
  const all = await client.hgetallBuffer(key);
  return new Map(
    Object.entries(all)
      .filter(([name]) => !name.endsWith(CELL_SEPARATOR))
      .map(([name, packed]) => [name, balancesOf(packed)]),
  );
}

function balancesOf(packed: Buffer): Balances {
  const balances = emptyBalances();
  POOLS.forEach((pool, i) => {
    balances[pool] = packed.readDoubleLE(i * 8);
  });
  return balances;
}

const fault = (what: string, reference: unknown, found: unknown): Error =>
  new Error(`${what}: expected ${JSON.stringify(reference)}, Redis has ${JSON.stringify(found)}`);

class Simulation {
  step = 0;
  commands = 0;
  readonly #random: Random;
  readonly #clock = new ManualClock(START_MS);
  readonly #format: number;
  readonly #reference: Reference;
  readonly #audit = new Audit();
  readonly #stream: CommandStream;
  readonly #seen = new Map<string, number>();
  readonly #client: Client;
  readonly #ledger: Ledger;
  readonly #keys: ReturnType<typeof stockKeys>;
  readonly #prefix: string;
  #offset = 0;
  #events = 0;

  static async start(seed: number, format: number): Promise<Simulation> {
    const client = redis.connect();
    await redis.flush();
    await Ledger.load(client);
    return new Simulation(seed, client, format);
  }

  private constructor(seed: number, client: Client, format: number) {
    this.#format = format;
    this.#reference = new Reference(RETENTION_DAYS, format);
    this.#prefix = `sim-${seed}`;
    this.#random = seededRandom(seed);
    this.#stream = new CommandStream(this.#random, START_MS, RETENTION_DAYS);
    this.#client = client;
    this.#keys = stockKeys(this.#prefix, 0);
    this.#ledger = new Ledger({
      redis: client,
      prefix: this.#prefix,
      partitions: 1,
      clock: this.#clock,
      idRetentionDays: RETENTION_DAYS,
      batchLimit: BATCH_LIMIT,
      format: () => format,
    });
  }

  async run(wanted: number): Promise<void> {
    const random = this.#random;
    let rushes = 0;
    while (this.commands < wanted) {
      this.step++;
      this.#passTime();
      if (this.commands >= ((rushes + 0.5) * wanted) / 4) await this.#rush(rushes++);
      const draw = random.below(100);
      if (draw < 3) await this.#tick();
      else if (draw < 6) await this.#openBreaker();
      else if (draw < 10) await this.#closeBreaker();
      else await this.#apply(this.#stream.take(this.#size()));
      if (this.step % FULL_CHECK_STEPS === 0) await this.#checkAll();
    }
    await this.#checkAll();
    if (this.#format === LATEST_FORMAT) this.#checkCoverage();
  }

  /** The first twentieth one by one, so that a difference shows its command; later mixed sizes. */
  #size(): number {
    if (this.commands < COMMANDS / 20) return 1;
    const random = this.#random;
    return random.pick([1, 1, 1, 1 + random.below(20), 1 + random.below(BATCH_LIMIT)]);
  }

  #passTime(): void {
    const random = this.#random;
    const draw = random.below(1_000);
    if (draw < 700) this.#clock.moveTo(this.#clock.now() + random.below(2_000));
    else if (draw < 900) this.#clock.moveTo(this.#clock.now() + random.below(60_000));
    else if (draw < 940) this.#clock.moveTo(this.#stream.timeMs);
    else if (draw < 980) this.#clock.moveTo(this.#reference.nextChangeMs());
    else if (draw < 998) this.#clock.moveTo(this.#clock.now() + random.below(3 * 3_600_000));
    else this.#clock.moveTo(this.#clock.now() + random.below(4 * 86_400_000));
    this.#stream.timeMs = Math.max(this.#stream.timeMs, this.#clock.now());
  }

  /**
   * More holds than one sweep ends fall due together; in every second rush long after their days could be retired.
   */
  async #rush(number: number): Promise<void> {
    // A breaker would refuse the orders, and their holds are to expire in full sweeps.
    for (const { scope } of [...this.#reference.partition.breakers.values()]) await this.#close(scope);
    const orders = this.#stream.rush(2_600, 600_000);
    for (let first = 0; first < orders.length; first += BATCH_LIMIT)
      await this.#apply(orders.slice(first, first + BATCH_LIMIT));
    const laterMs = number % 2 === 0 ? 3_600_000 : 100 * 86_400_000;
    this.#clock.moveTo(this.#reference.partition.clockMs + laterMs);
    this.#stream.timeMs = Math.max(this.#stream.timeMs, this.#clock.now());
    if (number > 1) await this.#tick();
    for (const size of number % 2 === 0 ? [1, 3, 40] : [40, BATCH_LIMIT]) await this.#apply(this.#stream.take(size));
    await this.#checkAll();
  }

  async #apply(batch: StockCommand[]): Promise<void> {
    const touched = new Set<string>();
    const nowMs = this.#clock.now();
    const expected = this.#reference.apply(nowMs, batch, touched);
    const replies = await this.#ledger.applyMany(batch);
    for (let i = 0; i < batch.length; i++) {
      const { outcome, repeated, state, uncounted } = replies[i] as Reply;
      const wanted = expected[i] as Reply;
      if (!isDeepStrictEqual(replies[i], wanted)) {
        throw fault(`command ${i} of ${batch.length} at ${nowMs}, ${JSON.stringify(batch[i])}`, wanted, replies[i]);
      }
      this.#count(outcome);
      this.#count(`state ${state}`);
      this.#count(`kind ${(batch[i] as StockCommand).kind}`);
      this.#count(`${(batch[i] as StockCommand).kind} ${outcome}`);
      if (repeated) this.#count("repeated");
      if (uncounted) this.#count("uncounted");
    }
    this.commands += batch.length;
    await this.#check(touched);
  }

  async #tick(): Promise<void> {
    const touched = new Set<string>();
    const expected = this.#reference.tick(this.#clock.now(), touched);
    const { expired, clockMs } = await this.#ledger.tick(0);
    if (expired !== expected) throw fault("expired by tick", expected, expired);
    if (clockMs !== this.#reference.partition.clockMs)
      throw fault("the clock", this.#reference.partition.clockMs, clockMs);
    this.#count("tick");
    await this.#check(touched);
  }

  #scope(): BreakerScope {
    const random = this.#random;
    return random.pick<BreakerScope>([
      { kind: "shop" },
      { kind: "location", location: random.pick(LOCATIONS) },
      { kind: "sku", sku: random.pick(SKUS) },
    ]);
  }

  async #openBreaker(): Promise<void> {
    const scope = this.#scope();
    const random = this.#random;
    const forMs = random.pick([0, 1_000, 60_000, 600_000]);
    const canBeHalfOpen = this.#format >= BREAKER_EVENTS_FORMAT;
    const cause = { actor: "sim", reason: "drill" };
    if (canBeHalfOpen && random.below(4) === 0) {
      this.#reference.setBreaker(this.#clock.now(), scope, "half_open");
      await this.#ledger.breakers.set(scope, "half_open", cause);
    } else {
      const atEnd = canBeHalfOpen && forMs > 0 && random.below(2) === 0 ? "half_open" : undefined;
      this.#reference.setBreaker(this.#clock.now(), scope, "open", forMs, atEnd);
      await this.#ledger.breakers.set(scope, "open", { ...cause, forMs, ...(atEnd && { atEnd }) });
    }
    this.#count(`breaker ${scope.kind}`);
    await this.#check(new Set());
  }

  async #closeBreaker(): Promise<void> {
    const open = [...this.#reference.partition.breakers.values()];
    await this.#close(open.length > 0 && this.#random.below(4) > 0 ? this.#random.pick(open).scope : this.#scope());
  }

  async #close(scope: BreakerScope): Promise<void> {
    const expected = this.#reference.setBreaker(this.#clock.now(), scope, "close");
    const { changed: found } = await this.#ledger.breakers.set(scope, "close", { actor: "sim", reason: "drill" });
    if (found !== expected) throw fault(`closing ${JSON.stringify(scope)}`, expected, found);
    await this.#check(new Set());
  }

  /** Events against the reference's, the auditor's balances against both. */
  async #check(touched: Set<string>): Promise<void> {
    const names = [...touched];
    const [entries, packed] = await Promise.all([
      readLog(this.#client, this.#keys.log, this.#offset, 10_000),
      names.length > 0 ? this.#client.hmgetBuffer(this.#keys.cells, ...names) : [],
    ]);
    assertContiguous(entries, this.#offset, this.#keys.log);
    this.#offset += entries.length;
    const expected = this.#reference.events.splice(0);
    let position = 0;
    for (const entry of entries) {
      const { events, total } = eventsOf(entry);
      for (const event of events) {
        const wanted = expected[position++];
        if (!wanted || !isSame(event, wanted)) throw fault(`event ${position}`, wanted, event);
        this.#audit.fold(event);
        this.#count(event.type);
        this.#count(`${event.type} from ${event.from}`);
        if (isBreakerEvent(event)) this.#count(`${event.type} by ${event.detail?.["actor"]}`);
        if (event.detail?.["missingUnits"]) this.#count(`${event.type} with missing units`);
      }
      const isCounted = this.#format >= BREAKER_EVENTS_FORMAT || !events.some(isBreakerEvent);
      if (isCounted) this.#events += events.length;
      if (total !== this.#events) throw fault(`the count of events in entry ${entry.offset}`, this.#events, total);
    }
    if (position < expected.length) throw fault(`event ${position + 1}`, expected[position], undefined);
    names.forEach((name, i) => {
      this.#compare(name, packed[i] ? balancesOf(packed[i]) : undefined);
    });
    for (const sku of new Set(names.map((name) => name.slice(0, name.indexOf(CELL_SEPARATOR)))))
      this.#audit.checkSum(sku);
  }

  #compare(name: string, found: Balances | undefined): void {
    const ruled = this.#reference.partition.cells.get(name);
    const audited = this.#audit.cells.get(name);
    for (const pool of POOLS) {
      if (found?.[pool] !== ruled?.[pool]) throw fault(`${pool} of ${name}`, ruled, found);
      if (found?.[pool] !== audited?.[pool])
        throw new Error(`${pool} of ${name}: the log gives ${audited?.[pool]}, Redis has ${found?.[pool]}`);
    }
  }

  /** Compares all of the partition in Redis: cells, holds, ids, breakers. */
  async #checkAll(): Promise<void> {
    const { partition, held } = this.#reference;
    const cells = await cellsOf(this.#client, this.#keys.cells);
    for (const name of new Set([...cells.keys(), ...partition.cells.keys(), ...this.#audit.cells.keys()]))
      this.#compare(name, cells.get(name));
    for (const sku of SKUS) {
      this.#audit.checkSum(sku);
      const read = await this.#ledger.balances(sku);
      const known = [...cells].filter(([name]) => name.startsWith(sku + CELL_SEPARATOR));
      for (const [name, balances] of known) {
        const found = read?.get(name.slice(sku.length + 1));
        if (!isDeepStrictEqual(found, balances)) throw fault(`${name} as read by SKU`, balances, found);
      }
      if ((read?.size ?? 0) !== known.length) throw fault(`locations of ${sku}`, known.length, read?.size);
    }

    const listed = await this.#client.zrange(this.#keys.holds, "0", "-1", "WITHSCORES");
    const holds = new Map(
      Array.from({ length: listed.length / 2 }, (_, i) => [listed[2 * i] as string, Number(listed[2 * i + 1])]),
    );
    if (!isDeepStrictEqual(holds, held)) throw fault("holds", [...held], [...holds]);

    // The reserved units are those of held lines.
    const reserved = new Map<string, number>();
    for (const bucket of partition.records.values()) {
      for (const { state, pool, cell, units } of bucket.values()) {
        if (state === "held" && pool === "sellable") reserved.set(cell, (reserved.get(cell) ?? 0) + units);
      }
    }
    for (const [name, balances] of cells) {
      if (balances.reserved !== (reserved.get(name) ?? 0))
        throw fault(`reserved of ${name} by lines`, reserved.get(name), balances);
    }

    const days = new Map(
      [...partition.records]
        .filter(([, bucket]) => bucket.size > 0)
        .map(([day, bucket]) => [this.#keys.lines(day), bucket.size]),
    );
    const buckets = (await redis.keys(`${this.#prefix}:*:lines:*`)).filter((key) => !key.endsWith(":old"));
    const sizes = new Map(await Promise.all(buckets.map(async (key) => [key, await this.#client.hlen(key)] as const)));
    for (const key of new Set([...days.keys(), ...sizes.keys()])) {
      // The ledger deletes records of a retired day step by step.
      const isRetired = Number(key.slice(key.lastIndexOf(":") + 1)) <= partition.retiredDay && this.#format > 1;
      if (isRetired ? (days.get(key) ?? 0) > (sizes.get(key) ?? 0) : days.get(key) !== sizes.get(key))
        throw fault(`ids in ${key}`, days.get(key), sizes.get(key));
    }

    const stored = Object.entries(await this.#client.hgetall(this.#keys.breakers));
    const breakers = new Map(stored.map(([key, text]) => [key, { state: "open", ...JSON.parse(text) }]));
    const expected = new Map([...partition.breakers].map(([key, { scope: _, ...breaker }]) => [key, breaker]));
    if (!isDeepStrictEqual(breakers, expected)) throw fault("breakers", [...expected], [...breakers]);
  }

  #count(what: string): void {
    this.#seen.set(what, (this.#seen.get(what) ?? 0) + 1);
  }

  #checkCoverage(): void {
    const wanted = [
      // Only format 1 refuses an outbound; a clock of the caller's own cannot disagree
      // (test/stock/clocks.redis.test.ts).
      ...OUTCOMES.filter((outcome) => outcome !== "not_paid" && outcome !== "clocks_disagree"),
      ...KINDS.map((kind) => `kind ${kind}`),
      ...LINE_STATES.map((state) => `state ${state}`),
      ...[
        "breaker shop",
        "breaker location",
        "breaker sku",
        "tick",
        "repeated",
        "uncounted",
        "LineExpired",
        "LineAccepted",
      ],
      ...["BreakerOpened by sim", "BreakerHalfOpened by sim", "BreakerHalfOpened by engine"],
      ...["BreakerClosed by sim", "BreakerClosed by engine"],
      ...["LineOutbound from reserved", "LineOutbound from committed", "LineOutbound from sellable"],
      ...["LineOutbound with missing units", "LineCancelled with missing units", "cancel superseded"],
    ];
    const table = [...this.#seen].map(([what, times]) => `${what}: ${times}`).join("\n");
    for (const what of wanted) if (!this.#seen.has(what)) throw new Error(`"${what}" has not occurred\n${table}`);
    if (this.#reference.fullSweeps === 0) throw new Error(`no sweep reached its limit\n${table}`);
    if (process.env["SHUIWEI_SIM_TABLE"])
      console.log(`${table}\nfull sweeps: ${this.#reference.fullSweeps}\nsteps: ${this.step}`);
  }
}

function isSame(event: StockEvent, wanted: Omit<StockEvent, "offset" | "index">): boolean {
  return (
    event.id === wanted.id &&
    event.type === wanted.type &&
    event.units === wanted.units &&
    event.from === wanted.from &&
    event.to === wanted.to &&
    event.sku === wanted.sku &&
    event.location === wanted.location &&
    event.toLocation === wanted.toLocation &&
    event.atMs === wanted.atMs &&
    event.clockMs === wanted.clockMs &&
    event.uncounted === wanted.uncounted &&
    event.presale === wanted.presale &&
    isDeepStrictEqual(event.detail, wanted.detail)
  );
}
