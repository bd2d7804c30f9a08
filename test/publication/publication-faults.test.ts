/**
 * Publications in a simulated world: owners whose calls fail before or after they are done, who die in any of them, and
 * who go on after another has taken over, while the shop's displays change back and forth. After every call a page must
 * find a complete state that is not older than the one before. A seed repeats a run: owners wait at every call, and the
 * seed decides which goes on. PUBLICATION_SEED in the message of a failure is what to set FIRST_SEED to.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Scheduler } from "../../engine/kernel/clock.js";
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import { newFigures, type PublicationFigures, PublicationTask } from "../../engine/publication/publication-task.js";
import {
  type Gate,
  MemoryPublicationStore,
  MemoryRecord,
  readAsPage,
  Shop,
  ShopView,
  StoredObjects,
  StoredRecord,
} from "./bed.js";

const FIRST_SEED = 1;
const SEEDS = 12;
const CALLS = 500;
const EVERY_MS = 5_000;
/** More than any run takes: the simulation takes the lease away by the epoch. */
const LEASE_MS = 600_000;
const MAX_OWNERS = 3;

/** A call that waits for its turn. */
interface Held {
  readonly name: string;
  pass(): void;
  /** Ends with an error. @param isDone whether it is done all the same */
  fail(isDone: boolean): void;
}

class Owner {
  readonly view: ShopView;
  readonly figures: PublicationFigures = newFigures();
  held: Held[] = [];
  isEnded = false;
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;

  constructor(world: World, epoch: number) {
    this.view = new ShopView(world.shop, () => world.nowMs);
    const gate: Gate = (name, call) =>
      new Promise((resolve, reject) => {
        this.held.push({
          name,
          pass: () => {
            try {
              resolve(call());
            } catch (thrown) {
              reject(thrown);
            }
          },
          fail: (isDone) => {
            try {
              if (isDone) call();
            } catch {
              // The owner does not learn why.
            }
            reject(new EngineError(`${name} fails`, { op: "sim", code: "unavailable", retryable: true }));
          },
        });
      });
    const clock: Scheduler = {
      now: () => world.nowMs,
      sleep: (ms) => {
        const untilMs = world.nowMs + ms;
        return gate("sleep", () => world.moveTo(untilMs));
      },
    };
    const task = new PublicationTask(
      {
        ...{ epoch, everyMs: EVERY_MS, leaseMs: LEASE_MS, cacheSeconds: 1, clock, onTrouble: () => {} },
        store: new MemoryPublicationStore(world.stored, gate),
        source: this.view,
        record: new MemoryRecord(world.record, epoch, gate),
      },
      this.figures,
      0,
    );
    this.#ended = task
      .run(this.#stop.signal, () => {})
      .catch((thrown) => {
        if (!(thrown instanceof EngineError)) world.unexpected.push(messageOf(thrown));
      })
      .finally(() => {
        this.isEnded = true;
      });
  }

  /** Ends what still runs, after the run. */
  async bury(): Promise<void> {
    this.#stop.abort();
    while (!this.isEnded) {
      for (const held of this.held.splice(0)) held.fail(false);
      await nextTurn();
    }
    await this.#ended;
  }
}

class World {
  readonly shop = new Shop();
  readonly stored = new StoredObjects();
  readonly record = new StoredRecord();
  readonly unexpected: string[] = [];
  nowMs = 1_700_000_000_000;

  moveTo(ms: number): void {
    this.nowMs = Math.max(this.nowMs, ms);
  }
}

/** @returns what a page reads, after it was compared with the shop */
function checked(world: World, before: { asOfMs: number }): { asOfMs: number } {
  if (!world.stored.manifest) return before;
  const { manifest, displays } = readAsPage(world.stored);
  expect(manifest.asOfMs).toBeGreaterThanOrEqual(before.asOfMs);
  const [position = 0] = manifest.positions;
  for (const sku of world.shop.skus) {
    const possible = world.shop.unitsSince(sku, position);
    if (!possible.has(displays.get(sku)))
      throw new Error(`${sku} is published with ${displays.get(sku)}, and had ${[...possible]}`);
  }
  return manifest;
}

/** Few SKUs with few values, so that the same contents come again. */
function changeShop(world: World, random: Random, skus: number): void {
  const sku = `SKU-${random.below(skus)}`;
  world.shop.change(sku, random.below(20) === 0 ? undefined : random.below(2), world.nowMs);
}

async function allWait(owners: readonly Owner[]): Promise<void> {
  while (owners.some(({ isEnded, held }) => !isEnded && held.length === 0)) await nextTurn();
}

/** What the seed decides for one call of an owner. */
function decide(owner: Owner, random: Random, died: () => void): void {
  const [held] = owner.held.splice(random.below(owner.held.length), 1) as [Held];
  const fate = held.name === "sleep" ? 99 : random.below(100);
  if (fate < 4) held.fail(false);
  else if (fate < 8) held.fail(true);
  else {
    held.pass();
    if (fate < 11) died();
  }
}

async function run(seed: number): Promise<{ publications: number; takeovers: number; deleted: number }> {
  const random = seededRandom(seed);
  const world = new World();
  const skus = random.pick([2, 3, 12, 900]);
  for (let i = 0; i < skus; i++) world.shop.change(`SKU-${i}`, random.below(2), world.nowMs);
  const all: Owner[] = [];
  let alive: Owner[] = [];
  let page = { asOfMs: 0 };
  try {
    for (let call = 0; call < CALLS; call++) {
      alive = alive.filter(({ isEnded }) => !isEnded);
      const isLed = alive.length > 0;
      if (!isLed || (alive.length < MAX_OWNERS && random.below(60) === 0)) {
        const owner = new Owner(world, ++world.record.epoch);
        all.push(owner);
        alive.push(owner);
      }
      await allWait(alive);
      for (let i = random.below(4); i > 0; i--) changeShop(world, random, skus);
      const running = alive.filter(({ isEnded }) => !isEnded);
      if (running.length === 0) continue;
      // The newest owner goes on more often: the others are frozen for long.
      const owner = random.below(4) > 0 ? (running.at(-1) as Owner) : random.pick(running);
      if (random.below(3) > 0) owner.view.follow();
      decide(owner, random, () => {
        alive = alive.filter((each) => each !== owner);
      });
      await nextTurn();
      page = checked(world, page);
    }
  } finally {
    for (const owner of all) await owner.bury();
  }
  expect(world.unexpected).toEqual([]);
  const sum = (of: (figures: PublicationFigures) => number) => all.reduce((total, each) => total + of(each.figures), 0);
  return {
    publications: sum(({ publications }) => publications),
    takeovers: all.length,
    deleted: sum(({ deleted }) => deleted),
  };
}

describe("a publication whose owners fail, die and are frozen at any call", () => {
  it("is complete after every call, and never older than before", async () => {
    const total = { publications: 0, takeovers: 0, deleted: 0 };
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      const { publications, takeovers, deleted } = await run(seed).catch((thrown) => {
        throw new Error(`PUBLICATION_SEED ${seed}: ${messageOf(thrown)}`, { cause: thrown });
      });
      total.publications += publications;
      total.takeovers += takeovers;
      total.deleted += deleted;
    }
    console.log(`${SEEDS} runs of ${CALLS} calls: ${JSON.stringify(total)}`);
    expect(total.publications).toBeGreaterThan(SEEDS);
    expect(total.deleted).toBeGreaterThan(SEEDS);
  });
});
