/**
 * From a payment to the warehouse while everything between them is killed and frozen (R22): two processes that serve
 * and work, redis-server, and a WMS that records every request. Customers place and pay orders over HTTP until they are
 * answered; at the end the WMS has every order whose payment was answered, once, and no other, and in no second did it
 * get more requests than its limit. The plan of faults and the customers' choices come from a seed, which is printed;
 * SHUIWEI_SEED runs it again.
 */
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WmsSandbox } from "../../connectors/wms/sandbox.js";
import { OrderTracker } from "../../engine/jobs/order-flow/track.js";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { sleep } from "../../engine/kernel/clock.js";
import { type Random, seededRandom, shuffled } from "../../engine/kernel/random.js";
import { ORDER_STEPS } from "../../engine/orders/model.js";
import { OrderStore } from "../../engine/orders/order-store.js";
import { partitionKeys, sinkKeys } from "../../engine/stream/keys.js";
import { entriesBehind } from "../outbox/sink-lag.js";
import { Bed, Product, planSeed } from "./bed.js";
import { Shop, skuNames } from "./shop.js";

const ORDERS = 5_000;
/** Orders a second: so the load lasts about 20 s, and the WMS can catch up after it was away. */
const RATE = 260;
const CUSTOMERS = 24;
const SKUS = 100;
const UNITS = 1_000_000;
/** One order in so many is never paid, and one request in so many is sent again after its answer. */
const UNPAID_ONE_IN = 10;
const TWICE_ONE_IN = 20;
const PARTITIONS = 8;
const LEASE_MS = 1_000;
const WMS_LIMIT = 600;
const WMS_TIMEOUT_MS = 1_000;
const PREFIX = "shuiwei";
const SINK = "wms";
const JSON_TYPE = "application/json";

const FAULTS = {
  "kill a process": 6,
  "kill both processes": 1,
  "kill redis": 3,
  "kill redis and a process": 2,
  "freeze a process past its lease": 4,
  "freeze redis": 1,
  "kill the wms": 5,
  "kill the wms and a process": 2,
} as const;
type Fault = keyof typeof FAULTS;

const seed = planSeed();
const wms = new WmsSandbox({ limitPerSecond: WMS_LIMIT, parser: { baseMs: 20 } });
let bed: Bed;

beforeAll(async () => {
  await wms.start();
  bed = await Bed.open({ partitions: PARTITIONS, leaseMs: LEASE_MS, appendfsync: "always" });
  for (const number of [1, 2]) bed.products.push(await serving(number));
  await Promise.all(bed.products.map((product) => product.untilReady()));
});

afterAll(async () => {
  await bed?.close();
  await wms.stop();
});

/** A process that takes orders, runs the jobs and sends to the WMS. */
async function serving(number: number): Promise<Product> {
  const finder = createServer().listen(0, "127.0.0.1");
  await once(finder, "listening");
  const { port } = finder.address() as { port: number };
  finder.close();
  await once(finder, "close");
  const options = {
    "redis-url": bed.socketPath,
    roles: "api,worker",
    port,
    partitions: PARTITIONS,
    lease: LEASE_MS,
    tick: 200,
    "wms-url": wms.url,
    "wms-limit": WMS_LIMIT,
    "wms-in-flight": 64,
    "wms-timeout": WMS_TIMEOUT_MS,
    "objects-url": pathToFileURL(join(bed.dir, "objects")).href,
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return new Product("api", `process ${number}`, port, { arguments: args, environment: {} });
}

/** The plan: every fault as often as the table says, in an order of the seed's. */
const planOf = (random: Random): Fault[] =>
  shuffled(
    Object.entries(FAULTS).flatMap(([fault, times]) => Array<Fault>(times).fill(fault as Fault)),
    random,
  );

async function strike(fault: Fault, random: Random): Promise<void> {
  const one = random.pick(bed.products);
  const restartRedis = async (): Promise<void> => {
    await bed.killRedis();
    await bed.startRedis();
  };
  const restartWms = async (): Promise<void> => {
    await wms.stop();
    await sleep(200 + random.below(1_200));
    await wms.start();
  };
  switch (fault) {
    case "kill a process":
      return one.kill();
    case "kill both processes":
      for (const product of bed.products) product.kill();
      return;
    case "kill redis":
      return restartRedis();
    case "kill redis and a process":
      one.kill();
      return restartRedis();
    case "freeze a process past its lease":
      one.freeze();
      await sleep(LEASE_MS + 200 + random.below(1_500));
      return one.wake();
    case "freeze redis":
      bed.freezeRedis();
      await sleep(500 + random.below(1_000));
      return bed.wakeRedis();
    case "kill the wms":
      return restartWms();
    case "kill the wms and a process":
      one.kill();
      return restartWms();
  }
}

/** What the customers were answered. */
class Books {
  readonly paid: string[] = [];
  readonly unpaid: string[] = [];
  #taken = 0;

  get settled(): number {
    return this.paid.length + this.unpaid.length;
  }

  /** The number of a new order; undefined when there are enough. */
  next(): number | undefined {
    return this.#taken < ORDERS ? this.#taken++ : undefined;
  }
}

/** Buys order after order; every request is sent until it is answered, and some once more after that. */
async function buy(shop: Shop, books: Books, customer: number, startedMs: number): Promise<void> {
  const random = seededRandom(seed * 100 + customer);
  const ask = async (path: string, expected: readonly number[], body?: object): Promise<void> => {
    const bytes = body && Buffer.from(JSON.stringify(body));
    for (let times = random.below(TWICE_ONE_IN) === 0 ? 2 : 1; times > 0; times--) {
      const answer = await shop.ask(path, body && JSON_TYPE, bytes, random.below(bed.products.length));
      if (!expected.includes(answer.status)) throw new Error(`${path}: ${answer.status} ${answer.body}`);
    }
  };
  for (let number = books.next(); number !== undefined; number = books.next()) {
    const waitMs = startedMs + (number / RATE) * 1_000 - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    const id = chainIdFromNumber("KT", Date.now(), number);
    const lines = Array.from({ length: 1 + random.below(2) }, () => ({
      sku: random.pick(skuNames(SKUS)),
      location: "SHA",
      units: 1 + random.below(3),
    }));
    const shipTo = { name: "李伟", phone: "13800000000", address: `浙江省杭州市西湖区文三路${number}号` };
    await ask("/v1/orders", [200, 201], { id, lines, shipTo });
    if (random.below(UNPAID_ONE_IN) === 0) books.unpaid.push(id);
    else {
      await ask(`/v1/orders/${id}/payment`, [200]);
      books.paid.push(id);
    }
  }
}

async function receiveStock(shop: Shop): Promise<void> {
  const receipts = skuNames(SKUS).map((sku, i) => ({
    kind: "receive",
    id: chainIdFromNumber("RC", Date.now(), i),
    sku,
    location: "SHA",
    units: UNITS,
  }));
  const body = Buffer.from(receipts.map((receipt) => `${JSON.stringify(receipt)}\n`).join(""));
  expect((await shop.ask("/v1/commands", "application/x-ndjson", body, 0)).status).toBe(200);
}

/** Commits that the sink is not done with, in all partitions. */
async function allEntriesBehind(): Promise<number> {
  const lags = bed.partitions().map((p) => entriesBehind(bed.redis, PREFIX, "orders", p, SINK));
  return (await Promise.all(lags)).reduce((sum, entries) => sum + entries, 0);
}

async function deadLettersKept(): Promise<number> {
  const keys = bed
    .partitions()
    .flatMap((p) => [sinkKeys(PREFIX, "orders", p, SINK).deadLetters, partitionKeys(PREFIX, "orders", p).deadLetters]);
  return (await Promise.all(keys.map((key) => bed.redis.xlen(key)))).reduce((sum, each) => sum + each, 0);
}

it("every order whose payment was answered is at the warehouse once, whichever process is killed meanwhile", async () => {
  const random = seededRandom(seed);
  const plan = planOf(random);
  process.stdout.write(`dispatch: seed ${seed}, ${plan.length} faults\n`);
  const shop = new Shop({
    seed,
    apis: bed.apis,
    commands: 0,
    rate: 0,
    skus: 0,
    batchers: 0,
    orderers: 0,
    batch: 0,
    timeoutMs: 1_500,
    patienceMs: 60_000,
  });
  const books = new Books();
  await receiveStock(shop);
  let isOver = false;
  const startedMs = performance.now();
  const load = Promise.all(Array.from({ length: CUSTOMERS }, (_, i) => buy(shop, books, i, startedMs))).finally(() => {
    isOver = true;
  });
  const faults = (async () => {
    for (const [i, fault] of plan.entries()) {
      while (!isOver && books.settled < ((i + 0.5) / plan.length) * ORDERS) await sleep(5);
      if (!isOver) await strike(fault, random);
    }
  })();
  await Promise.all([load, faults]);
  const loadMs = performance.now() - startedMs;
  await Promise.all(bed.products.map((product) => product.untilReady()));

  const orderStore = new OrderStore({ redis: bed.redis, prefix: PREFIX, partitions: PARTITIONS, keepSeconds: 0 });
  const { paid } = books;
  const backlog = async () => ({ picking: (await orderStore.totals()).picking, behind: await allEntriesBehind() });
  await expect.poll(backlog, { timeout: 60_000 }).toEqual({ picking: paid.length, behind: 0 });

  const report = wms.report();
  const arrived = new Map(report.orders);
  expect([...arrived.keys()].sort()).toEqual([...paid].sort());
  expect(report.duplicates).toBe(0);
  expect(report.arrivedPerSecondMost).toBeLessThanOrEqual(WMS_LIMIT);
  expect(await deadLettersKept()).toBe(0);
  const tracker = new OrderTracker(bed.redis, PREFIX, PARTITIONS);
  const tookMs: number[] = [];
  for (const id of paid) {
    const { taken, open } = await tracker.track(id);
    expect(taken.map(({ step }) => step).sort(), id).toEqual([...ORDER_STEPS.slice(0, 4)].sort());
    expect(open, id).toEqual([]);
    tookMs.push((arrived.get(id) as number) - (taken.find(({ step }) => step === "paid")?.atMs as number));
  }
  bed.expectNoCrash();
  const lost = /unsent|became a dead letter|more than .* takes/;
  expect(bed.products.flatMap(({ complaints }) => complaints.filter((text) => lost.test(text)))).toEqual([]);
  await bed.stopProducts();

  tookMs.sort((a, b) => a - b);
  const count = (word: RegExp) => plan.filter((fault) => word.test(fault)).length;
  const kills = plan.reduce((sum, fault) => sum + (fault.match(/redis|process|wms/g) ?? []).length, 0);
  process.stdout.write(
    `dispatch: ${ORDERS} orders, ${paid.length} paid and at the WMS once, in ${(loadMs / 1_000).toFixed(1)} s; ` +
      `${kills - count(/^freeze/) + count(/both/)} kills and ${count(/^freeze/)} freezes; ${shop.resent} requests of customers sent again, ` +
      `${report.repeats} of the engine with the same key; ${report.arrived} arrived, ${report.throttled} turned away, ` +
      `busiest second ${report.arrivedPerSecondMost} of ${WMS_LIMIT}; payment to picking: median ${tookMs[tookMs.length >> 1]} ms, ` +
      `longest ${tookMs.at(-1)} ms; longest time without an answer ${(shop.longestWaitMs / 1_000).toFixed(1)} s; seed ${seed}\n`,
  );
}, 240_000);
