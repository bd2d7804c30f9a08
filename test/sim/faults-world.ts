/**
 * A small shop under faults: workers that run the real jobs, desks that take orders, and clients that ask a desk, and
 * ask again, until they are answered. Processes die and are started anew under another name; clients do not, and keep
 * what they were told. Two kinds of shop: in a `free` one several clients trade at once and the server's clock is the
 * simulation's; in a `fixed` one a single client gives a list of commands at given times, so that the ledger must end
 * exactly as if nothing had happened. `run` ends when everybody has been answered, every late call has arrived and
 * every job has seen the whole log.
 */
import { stockJobs } from "../../engine/jobs/index.js";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { ManualClock } from "../../engine/kernel/clock.js";
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import { lineId, type Order, type OrderReply, type WithdrawalResult } from "../../engine/orders/model.js";
import { OrderService } from "../../engine/orders/order-service.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { Ledger } from "../../engine/stock/ledger.js";
import {
  isAccepted,
  type LineState,
  OUTCOMES,
  type Reply,
  type StockCommand,
  type StockEvent,
} from "../../engine/stock/model.js";
import { stockTopic } from "../../engine/stock/topic.js";
import { readTask } from "../../engine/stream/commit.js";
import type { AnyJob, Job } from "../../engine/stream/job.js";
import { stockKeys } from "../../engine/stream/keys.js";
import type { LogEntry } from "../../engine/stream/log.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { Worker } from "../../engine/stream/worker.js";
import { CommandStream } from "./commands.js";
import { type FaultSource, FaultyRedis, type Operation, type SimulatedProcess } from "./faulty-redis.js";
import { VirtualTime } from "./virtual-time.js";

export const START_MS = Date.UTC(2026, 5, 17, 15, 58);
export const RETENTION_DAYS = 3;
/** Answers that mean yes. */
const ACCEPTED = OUTCOMES.filter(isAccepted);
const ZONE = zoneOf("Asia/Shanghai");
const SKUS = ["CUP", "SHOE", "BAG", "水杯"];
const PLACES = ["SH", "GZ"];

/** A run that has not come to rest by then never will: the longest ones take some 6,000. */
const MAX_STEPS = 60_000;
/** In between the tasks are not asked whether they have seen everything. */
const REST_CHECK_STEPS = 20;
const RESTART_MAX_MS = 3_000;
/** Redis loses what it has written since so many steps at most. */
const SAVE_STEPS = 60;

/** What a simulated shop is like. */
export interface Plan {
  /** `scripted`: the one client does what the story says. */
  kind: "free" | "fixed" | "scripted";
  story?: Story;
  partitions: number;
  workers: number;
  desks: number;
  clients: number;
  /** What each client does. */
  turns: number;
  leaseMs: number;
  tickMs: number;
  timeoutMs: number;
  /** How long a client waits for an answer before it asks again. */
  patienceMs: number;
  /** Between two turns of a client at most. */
  pauseMs: number;
  retentionMs: number;
  hasPoison: boolean;
  /** Whether Redis may start anew without its newest writes; what was answered before is then not looked at. */
  losesWrites: boolean;
  /** Whether paid orders go to a warehouse, which is asked before one is cancelled. */
  hasWarehouse?: boolean;
}

/** What one client does, step by step. */
export type Story = (client: ScriptedClient) => Promise<void>;

/** The hands of a client: each call asks until it is answered. */
export interface ScriptedClient {
  receive(sku: string, units: number): Promise<void>;
  /** Places an order of so many units of each SKU. */
  place(units: Readonly<Record<string, number>>, holdMs?: number): Promise<string>;
  placeAgain(id: string): Promise<boolean>;
  pay(id: string): Promise<boolean>;
  /** Lines by number from 1; left out: all. */
  cancel(id: string, lines?: readonly number[]): Promise<boolean>;
  outbound(id: string, lines?: readonly number[]): Promise<boolean>;
  /** What the warehouse says to a cancellation. */
  settle(id: string, result: WithdrawalResult): Promise<boolean>;
  /** Lets a breaker refuse new orders of a SKU for a while. */
  refuse(sku: string, forMs: number): Promise<void>;
  wait(ms: number): Promise<void>;
}

/** One thing that a client of a `fixed` shop does at a given time; without a command: lets time pass. */
export interface FixedTurn {
  atMs: number;
  command: StockCommand | undefined;
}

/** The turns of a `fixed` shop, by its seed. */
export function fixedTurns(seed: number, count: number): FixedTurn[] {
  const random = seededRandom(seed);
  const commands = new CommandStream(random, START_MS, RETENTION_DAYS);
  let atMs = START_MS;
  return Array.from({ length: count }, () => {
    atMs += random.pick([0, 1, 400, 400, 5_000, 60_000, 700_000]);
    return { atMs, command: random.below(8) === 0 ? undefined : commands.take(1)[0] };
  });
}

interface ChatterState {
  events: number;
  units: number;
  fired: number;
  again: number;
}

/** A job with much to say: emits on every event, has timers that arm themselves again, and gives keys up. */
const chatterJob: Job<StockEvent, ChatterState> = {
  name: "chatter.1",
  key: (event) => event.sku,
  initial: () => ({ events: 0, units: 0, fired: 0, again: 0 }),
  onEvent(state, event, context) {
    state.events++;
    state.units += event.units;
    state.again = state.events % 3;
    context.emit("said", { events: state.events, units: state.units, type: event.type, of: event.id });
    context.setTimer(event.clockMs + 1 + ((event.offset * 37) % 9_000));
  },
  onTimer(state, atMs, context) {
    state.fired++;
    context.emit("rang", { fired: state.fired, atMs });
    if (state.again-- > 0) context.setTimer(atMs + 700);
    // After the last of them, now and then.
    else if (state.events % 4 === 1) context.clear();
  },
};

/** A job that cannot take some events and some timers; what it did before it threw must not stay. */
const frailJob: Job<StockEvent, { events: number }> = {
  name: "frail.1",
  key: (event) => event.location,
  initial: () => ({ events: 0 }),
  onEvent(state, event, context) {
    state.events++;
    context.emit("took", { events: state.events });
    context.setTimer(event.clockMs + 2_000);
    if (state.events % 11 === 10) context.clear();
    if ((event.offset + event.index) % 7 === 3) throw new Error("too much");
  },
  onTimer(state, atMs, context) {
    context.emit("rest", { atMs });
    if (state.events % 5 === 2) throw new Error("no rest");
  },
};

export const jobsOf = (plan: Plan): readonly AnyJob<StockEvent>[] => [
  ...stockJobs(ZONE),
  chatterJob,
  ...(plan.hasPoison ? [frailJob] : []),
];

/** What the client of an order was told last: where its lines may stand. */
export interface OrderStory {
  order: Order;
  may: readonly LineState[];
  /** Of lines that were named, in place of `may`; by position. */
  mayOfLine: Map<number, readonly LineState[]>;
  told: string[];
  /** When, by the simulation's time. */
  toldMs: number;
  /** What was told may have been lost with the newest writes. */
  isVoid: boolean;
  /** Steps that any try has accepted, also one that the client no longer waited for. */
  saidYes: ("place" | "pay")[];
}

interface Desk {
  process: SimulatedProcess;
  ledger: Ledger;
  orders: OrderService;
  gone: Promise<never>;
}

/** A commit as Redis has applied it. */
export interface AppliedCommit {
  number: number;
  epoch: number;
}

/** Trouble that the engine's loops may meet under faults; anything else is a bug. */
const EXPECTED_TROUBLE =
  /Connection is closed|Command timed out|STALE_EPOCH|STALE_RUN|set aside: .*: (too much|no rest)( \(and \d+ more\))?$|contended|at the same time/;

export class World {
  readonly plan: Plan;
  readonly prefix: string;
  readonly seed: number;
  readonly net: FaultyRedis;
  readonly time = new VirtualTime(START_MS);
  readonly orders: OrderStory[] = [];
  /** Answers to commands that bring an id of their own, by id. */
  readonly answers = new Map<string, Reply>();
  /** Answers to the turns of a `fixed` shop; undefined for those without a command. */
  readonly fixedAnswers: (Reply | undefined)[] = [];
  /** Commits in the order they were applied, by task. */
  readonly commits = new Map<string, AppliedCommit[]>();
  /** Entries that were trimmed, by stream. */
  readonly trimmed = new Map<string, LogEntry[]>();
  /** Every bucket of ids that a call has named. */
  readonly buckets = new Set<string>();
  steps = 0;
  /** Lines that a request given up by its client got after that client was told no. */
  grantedLate = 0;
  readonly #client: RedisClient;
  readonly #random: Random;
  readonly #fixedClock = new ManualClock(START_MS);
  readonly #desks: (Desk | undefined)[] = [];
  readonly #epochs = new Map<string, number>();
  readonly #underWay = new Map<Promise<unknown>, SimulatedProcess>();
  #lives = 0;
  #salt = 0;
  #clientsLeft = 0;
  #failure: unknown;
  #isQuiet = false;
  /** What Redis would have after a restart, by key. */
  #saved = new Map<string, Buffer>();

  constructor(client: RedisClient, prefix: string, seed: number, plan: Plan, faults: FaultSource, isVerbose = false) {
    this.plan = plan;
    this.prefix = prefix;
    this.seed = seed;
    this.#client = client;
    this.#random = seededRandom(seed);
    this.net = new FaultyRedis({
      client,
      time: this.time,
      random: seededRandom(seed ^ 0x5eed),
      faults: (operation, number) => (this.#isQuiet ? undefined : faults(operation, number)),
      observer: {
        before: (operation) => this.#before(operation),
        after: (...call) => this.#after(...call),
        lose: () => this.#lose(),
      },
      timeoutMs: plan.timeoutMs,
      longestMs: plan.leaseMs * 4,
      isVerbose,
    });
  }

  async run(): Promise<void> {
    const { plan } = this;
    if (plan.hasWarehouse) {
      const book = { redis: this.#client, prefix: this.prefix, partitions: plan.partitions, keepSeconds: 0 };
      await new OrderStore(book).waiting.begin();
    }
    for (let i = 0; i < plan.workers; i++) this.#startWorker(`worker-${i + 1}`);
    for (let i = 0; i < plan.desks; i++) this.#startDesk(i);
    if (plan.kind === "fixed") this.#start(this.#fixedClient());
    else if (plan.story) this.#start(plan.story(this.#scriptedClient()));
    else
      for (let i = 0; i < plan.clients; i++)
        this.#start(this.#freeClient(i, seededRandom(this.seed + 7_919 * (i + 1))));
    while (this.#clientsLeft > 0) await this.#step();
    this.#isQuiet = true;
    for (let calm = 0; ; calm++) {
      await this.#step();
      if (this.#underWay.size > 0 || this.net.hasLate) continue;
      if (calm % REST_CHECK_STEPS === 0 && (await this.#isAtRest())) return;
    }
  }

  /** Ends every process: nothing of this shop acts any more. */
  end(): void {
    this.net.end();
  }

  async #step(): Promise<void> {
    if (this.steps++ > MAX_STEPS) throw new Error(`no rest after ${MAX_STEPS} steps`);
    if (this.plan.losesWrites && !this.#isQuiet && this.steps % SAVE_STEPS === 0) await this.#save();
    await this.net.step();
    if (this.#failure) throw this.#failure;
  }

  /** Whether every job has seen the whole log. */
  async #isAtRest(): Promise<boolean> {
    for (let partition = 0; partition < this.plan.partitions; partition++) {
      const keys = stockKeys(this.prefix, partition);
      const offset = Number((await this.#client.hget(keys.head, "offset")) ?? 0);
      const { cursors } = await readTask(this.#client, keys);
      if (jobsOf(this.plan).some(({ name }) => (cursors.get(name) ?? 0) < offset)) return false;
    }
    return true;
  }

  // ---- processes

  #startWorker(name: string): void {
    const { plan, prefix } = this;
    const process = this.net.process(`${name}.${++this.#lives}`);
    const redis = this.net.connect(process);
    const isFixed = plan.kind === "fixed";
    const { tick, ...topic } = stockTopic(new Ledger({ redis, prefix, partitions: plan.partitions }));
    const worker = new Worker<StockEvent>({
      // In a fixed shop time passes when its client says so.
      topic: isFixed || !tick ? topic : { ...topic, tick },
      jobs: jobsOf(plan),
      prefix,
      redis,
      openReader: () => this.net.connect(process),
      owner: process.name,
      clock: process,
      leaseMs: plan.leaseMs,
      tickMs: plan.tickMs,
      retentionMs: plan.retentionMs,
      withViews: true,
      onTrouble: (message) => {
        this.net.tell(`${process.name}: ${message.replaceAll(prefix, "")}`);
        if (!EXPECTED_TROUBLE.test(message)) this.#failure ??= new Error(`${process.name}: ${message}`);
      },
    });
    process.onStop = () =>
      void worker.stop().then(
        () => process.end(),
        (thrown) => this.#fail(thrown),
      );
    process.onEnd(() => this.#later(() => this.#startWorker(name)));
    worker.start();
  }

  #startDesk(position: number): void {
    const { plan, prefix } = this;
    const { partitions } = plan;
    const process = this.net.process(`desk-${position + 1}.${++this.#lives}`);
    const redis = this.net.connect(process);
    const ledger = new Ledger({
      redis,
      prefix,
      partitions,
      idRetentionDays: RETENTION_DAYS,
      ...(plan.kind === "fixed" && { clock: this.#fixedClock }),
    });
    const orderStore = new OrderStore({ redis, prefix, partitions, keepSeconds: 0 });
    const gone = new Promise<never>((_, reject) => {
      process.onEnd(() => {
        reject(new Error("the desk has died"));
        this.#desks[position] = undefined;
        for (const [work, owner] of this.#underWay) if (owner === process) this.#underWay.delete(work);
        this.#later(() => this.#startDesk(position));
      });
    });
    gone.catch(() => {});
    this.#desks[position] = { process, ledger, orders: new OrderService(ledger, orderStore, process), gone };
  }

  #later(start: () => void): void {
    this.time.after(1 + this.#random.below(RESTART_MAX_MS), start);
  }

  // ---- clients

  #start(client: Promise<void>): void {
    this.#clientsLeft++;
    client.then(
      () => this.#clientsLeft--,
      (thrown) => this.#fail(thrown),
    );
  }

  #fail(thrown: unknown): void {
    this.#failure ??= thrown;
  }

  /** Asks some desk, and asks again, until there is an answer. */
  async #ask<Answer>(random: Random, what: (desk: Desk) => Promise<Answer>): Promise<Answer> {
    for (;;) {
      const desk = random.pick(this.#desks.map((each) => [each]))[0];
      if (desk) {
        try {
          const work = what(desk);
          this.#underWay.set(work, desk.process);
          const over = () => void this.#underWay.delete(work);
          work.then(over, over);
          return await Promise.race([work, desk.gone, this.#losePatience(random)]);
        } catch (thrown) {
          const again =
            (thrown instanceof EngineError && thrown.retryable) ||
            /^(Connection is closed\.|Command timed out|the desk has died|no answer)$/.test(messageOf(thrown));
          if (!again) throw thrown;
        }
      }
      await this.time.sleep(20 + random.below(1_500));
    }
  }

  async #losePatience(random: Random): Promise<never> {
    await this.time.sleep(this.plan.patienceMs + random.below(1_000));
    throw new Error("no answer");
  }

  async #fixedClient(): Promise<void> {
    const random = seededRandom(this.seed ^ 0xf1ed);
    for (const { atMs, command } of fixedTurns(this.seed, this.plan.turns)) {
      this.#fixedClock.moveTo(atMs);
      if (command) this.fixedAnswers.push(await this.#ask(random, ({ ledger }) => ledger.apply(command)));
      else {
        this.fixedAnswers.push(undefined);
        for (let partition = 0; partition < this.plan.partitions; partition++)
          await this.#ask(random, ({ ledger }) => ledger.tick(partition));
      }
      await this.time.sleep(random.below(this.plan.pauseMs));
    }
  }

  async #freeClient(position: number, random: Random): Promise<void> {
    const id = () => chainIdFromNumber("S1", this.time.now(), this.#salt++);
    const at = () => ({ sku: random.pick(SKUS), location: random.pick(PLACES) });
    const give = (command: StockCommand) => this.#give(random, command);
    if (position === 0) {
      for (const sku of SKUS)
        await give({ kind: "receive", id: id(), sku, location: random.pick(PLACES), units: 2 + random.below(6) });
      await give({ kind: "configure", id: id(), ...at(), settings: { alertFloorUnits: 2 } });
    }
    for (let turn = 0; turn < this.plan.turns; turn++) {
      await this.time.sleep(random.below(this.plan.pauseMs));
      const draw = random.below(100);
      if (draw < 62) await this.#order(random, id());
      else if (draw < 77) await give({ kind: "receive", id: id(), ...at(), units: 1 + random.below(4) });
      else if (draw < 82) await give({ kind: "correct", id: id(), ...at(), units: random.pick([-2, -1, 1]) });
      else if (draw < 87) await give({ kind: "move", id: id(), ...at(), units: 1, from: "sellable", to: "safety" });
      else if (draw < 91) await give({ kind: "return", id: id(), ...at(), units: 1 });
      else if (draw < 94)
        await give({ kind: "configure", id: id(), ...at(), settings: { alertFloorUnits: 1 + random.below(4) } });
      else {
        await this.#openBreaker(random, random.pick(SKUS), 1 + random.below(9_000));
      }
    }
  }

  #scriptedClient(): ScriptedClient {
    const random = seededRandom(this.seed);
    const id = () => chainIdFromNumber("S1", this.time.now(), this.#salt++);
    const location = PLACES[0] as string;
    const story = (of: string) => this.orders.find(({ order }) => order.id === of) as OrderStory;
    return {
      receive: (sku, units) => this.#give(random, { kind: "receive", id: id(), sku, location, units }),
      place: async (units, holdMs) => {
        const lines = Object.entries(units).map(([sku, each]) => ({ sku, location, units: each }));
        const order = { id: id(), lines, ...(holdMs !== undefined && { holdMs }) };
        await this.#place(random, this.#newStory(order));
        return order.id;
      },
      placeAgain: (of) => this.#place(random, story(of)),
      pay: (of) => this.#pay(random, story(of)),
      cancel: (of, lines) => this.#cancel(random, story(of), lines),
      outbound: (of, lines) => this.#outbound(random, story(of), lines),
      settle: (of, result) => this.#settle(random, story(of), result),
      refuse: (sku, forMs) => this.#openBreaker(random, sku, forMs),
      wait: (ms) => this.time.sleep(ms),
    };
  }

  async #openBreaker(random: Random, sku: string, forMs: number): Promise<void> {
    const cause = { actor: "client", reason: "drill", forMs };
    await this.#ask(random, async ({ ledger }) => {
      const { missing } = await ledger.breakers.set({ kind: "sku", sku }, "open", cause);
      if (missing.length > 0) throw new Error("no answer");
    });
  }

  async #give(random: Random, command: StockCommand): Promise<void> {
    this.answers.set(command.id, await this.#ask(random, ({ ledger }) => ledger.apply(command)));
  }

  /** The life of an order, as far as it goes. */
  async #order(random: Random, id: string): Promise<void> {
    const lines = Array.from({ length: random.pick([1, 1, 2, 2, 3]) }, () => ({
      sku: random.pick(SKUS),
      location: random.pick(PLACES),
      units: 1 + random.below(3),
    }));
    const holdMs = random.pick([0, 4_000, 15_000]);
    const story = this.#newStory({ id, lines, ...(holdMs > 0 && { holdMs }) });
    const pause = () => this.time.sleep(random.below(2 * this.plan.pauseMs));
    if (!(await this.#place(random, story))) {
      if (random.below(3) > 0) return;
      await pause();
      if (!(await this.#place(random, story))) return;
    }
    if (random.below(10) < 2) return;
    await pause();
    if (random.below(10) < 7) {
      const paid = await this.#pay(random, story);
      await pause();
      if (paid && random.below(2) === 0) {
        await this.#outbound(random, story);
        return;
      }
      if (random.below(2) === 0) return;
    }
    await this.#cancel(random, story);
  }

  #newStory(order: Order): OrderStory {
    const story: OrderStory = {
      ...{ order, may: ["none"], mayOfLine: new Map(), told: [], toldMs: 0, isVoid: false, saidYes: [] },
    };
    this.orders.push(story);
    return story;
  }

  /** Each returns whether it was accepted, and notes where the lines may stand from now on. */
  async #place(random: Random, story: OrderStory): Promise<boolean> {
    const reply = await this.#ask(random, ({ orders }) => noting(story, "place", orders.place(story.order)));
    const refused: LineState[] = reply.outcome === "hold_expired" ? ["none", "expired"] : ["none"];
    return this.#told(story, "place", reply, ["held", "expired"], refused);
  }

  async #pay(random: Random, story: OrderStory): Promise<boolean> {
    const reply = await this.#ask(random, ({ orders }) => noting(story, "pay", orders.pay(story.order.id)));
    // A payment of an order that was refused finds no line, or one whose hold is over.
    const refused: LineState[] = story.may.includes("none") ? ["none", "expired", "unpaid"] : ["expired", "unpaid"];
    const isCancelled = reply.outcome === "line_cancelled";
    return this.#told(story, "pay", reply, ["paid"], isCancelled ? ["cancelled", "cancelled_paid"] : refused);
  }

  async #cancel(random: Random, story: OrderStory, lines?: readonly number[]): Promise<boolean> {
    const reply = await this.#ask(random, ({ orders }) => orders.cancel(story.order.id, undefined, lines));
    if (reply.outcome === "cancelling") return this.#told(story, "cancel", reply, [], ["cancelling"]);
    const after: LineState[] = reply.outcome === "cancelled_paid" ? ["cancelled_paid"] : ["cancelled"];
    // Paid at the same time: each line may have met either first.
    if (reply.outcome === "cancelled_paid" && !story.may.includes("paid")) after.push("cancelled");
    return this.#told(story, "cancel", reply, after, story.may, lines);
  }

  async #outbound(random: Random, story: OrderStory, lines?: readonly number[]): Promise<boolean> {
    const reply = await this.#ask(random, ({ orders }) => orders.outbound(story.order.id, undefined, lines));
    return this.#told(story, "outbound", reply, ["outbound"], story.may, lines);
  }

  async #settle(random: Random, story: OrderStory, result: WithdrawalResult): Promise<boolean> {
    const evidence = { source: "wms" };
    const reply = await this.#ask(random, ({ orders }) => orders.settleCancellation(story.order.id, result, evidence));
    const after: LineState = result === "refused" ? "paid" : "cancelled_paid";
    const isCancelled = reply.outcome === "line_cancelled";
    return this.#told(story, `settle ${result}`, reply, [after], isCancelled ? ["cancelled_paid"] : story.may);
  }

  #told(
    story: OrderStory,
    step: string,
    { outcome }: OrderReply,
    accepted: readonly LineState[],
    refused: readonly LineState[],
    lines?: readonly number[],
  ): boolean {
    const is = isYes(outcome);
    story.told.push(`${step}${lines ? ` ${lines}` : ""}: ${outcome}`);
    story.toldMs = this.time.now();
    if (!lines) story.may = is ? accepted : refused;
    else if (is) for (const line of lines) story.mayOfLine.set(line - 1, accepted);
    return is;
  }

  // ---- what Redis does

  async #save(): Promise<void> {
    const keys = await this.#client.keys(`${this.prefix}:*`);
    const values = await Promise.all(keys.map((key) => this.#client.dumpBuffer(key)));
    this.#saved = new Map(keys.map((key, i) => [key, values[i] as Buffer]));
  }

  /** Another server takes over, with what had been saved. */
  async #lose(): Promise<void> {
    const client = this.#client;
    const keys = await client.keys(`${this.prefix}:*`);
    if (keys.length > 0) await client.del(keys);
    for (const [key, value] of this.#saved) await client.restore(key, 0, value);
    // A server names its run anew when it becomes a primary, which takes no restart.
    await client.call("REPLICAOF", "127.0.0.1", "1");
    await client.call("REPLICAOF", "NO", "ONE");
    for (const [task, commits] of this.commits) {
      const [commit, epoch] = await client.hmget(task, "commit", "epoch");
      commits.length = Number(commit ?? 0);
      this.#epochs.set(task, Number(epoch ?? 0));
    }
    for (const story of this.orders) story.isVoid = true;
    this.answers.clear();
  }

  async #before({ name, args }: Operation): Promise<void> {
    if (name !== "xtrim") return;
    const [key, , id] = args as [string, string, string];
    const kept = this.trimmed.get(key) ?? [];
    this.trimmed.set(key, kept);
    for (const entry of await entriesOf(this.#client, key, `(${id}`)) {
      if (entry.offset > (kept.at(-1)?.offset ?? 0)) kept.push(entry);
    }
  }

  #after({ name, args }: Operation, reply: unknown): void {
    if (name === "task_acquire") {
      const [taken, detail] = reply as [number, string[]];
      if (taken === 1)
        this.#epochs.set((args[2] as string[])[0] as string, Number(detail[detail.indexOf("epoch") + 1]));
    } else if (name === "task_commit" && reply === 1) {
      const task = (args[2] as string[])[0] as string;
      const [epoch, , number] = (args[3] as unknown[]).map(Number) as [number, number, number];
      const commits = this.commits.get(task) ?? [];
      this.commits.set(task, commits);
      if (epoch !== this.#epochs.get(task))
        throw new Error(`${task}: epoch ${epoch} has committed while ${this.#epochs.get(task)} owned it`);
      if (number !== commits.length + 1) throw new Error(`${task}: commit ${number} follows ${commits.length}`);
      commits.push({ number, epoch });
    } else if (name === "stock_apply") for (const key of (args[2] as string[]).slice(5)) this.buckets.add(key);
  }
}

async function noting(story: OrderStory, step: "place" | "pay", reply: Promise<OrderReply>): Promise<OrderReply> {
  const { outcome } = await reply;
  if (isYes(outcome)) story.saidYes.push(step);
  return reply;
}

const isYes = (outcome: OrderReply["outcome"]): boolean => (ACCEPTED as readonly string[]).includes(outcome);

/** Entries of a stream from its beginning, up to an id. */
export async function entriesOf(client: RedisClient, key: string, until = "+"): Promise<LogEntry[]> {
  const raw = await client.xrangeBuffer(key, "-", until);
  return raw.map(([id, fields]) => ({ offset: Number.parseInt(id.toString("latin1"), 10), fields }));
}

/** Ids of an order's lines. */
export const linesOf = (order: Order): string[] => order.lines.map((_, i) => lineId(order.id, i));
