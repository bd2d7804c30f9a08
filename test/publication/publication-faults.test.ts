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
import { newFigures, type PublicationFigures } from "../../engine/publication/publication-figures.js";
import { PublicationTask } from "../../engine/publication/publication-task.js";
import { lengthOf } from "../length.js";
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
const SEEDS = lengthOf({ short: 6, long: 40 });
const CALLS = 800;
const EVERY_MS = 5_000;
/** Longer than any object is kept that no manifest names. */
const CALM_MS = 400_000;
/** More than any run takes: the simulation takes the lease away by the epoch. */
const LEASE_MS = 600_000;
const MAX_OWNERS = 3;

/** A call that waits for its turn. */
interface Held {
  readonly name: string;
  pass(): void;
  /** Ends with an error. @param isDone whether it is done all the same */
  fail(isDone: boolean): void;
  /** Ends with an error, and is done when the returned function is called. */
  failAndBeDoneLater(): () => void;
}

class Owner {
  readonly view: ShopView;
  readonly figures: PublicationFigures = newFigures();
  held: Held[] = [];
  isEnded = false;
  readonly #stop = new AbortController();
  readonly #ended: Promise<unknown>;

  constructor(world: World, epoch: number) {
    this.view = new ShopView(world.shop, () => world.nowMs);
    const gate: Gate = (name, call) =>
      new Promise((resolve, reject) => {
        const fail = (): void =>
          reject(new EngineError(`${name} fails`, { op: "sim", code: "unavailable", retryable: true }));
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
            fail();
          },
          failAndBeDoneLater: () => {
            fail();
            return call;
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
function changeShop(world: World, random: Random, { skus, values }: { skus: number; values: number }): void {
  const sku = `SKU-${random.below(skus)}`;
  world.shop.change(sku, random.below(20) === 0 ? undefined : random.below(values), world.nowMs);
}

async function allWait(owners: readonly Owner[]): Promise<void> {
  while (owners.some(({ isEnded, held }) => !isEnded && held.length === 0)) await nextTurn();
}

/** What the seed decides for one call of an owner. */
function decide(owner: Owner, random: Random, later: (() => void)[], died: () => void): void {
  const [held] = owner.held.splice(random.below(owner.held.length), 1) as [Held];
  const fate = held.name === "sleep" ? 99 : random.below(100);
  if (held.name === "delete" && fate >= 70) return void later.push(held.failAndBeDoneLater());
  if (fate < 4) held.fail(false);
  else if (fate < 8) held.fail(true);
  else {
    held.pass();
    if (fate < 11) died();
  }
}

/** @param maxOwners above one, an owner goes on after another has taken over */
async function run(
  seed: number,
  maxOwners: number,
): Promise<{ publications: number; takeovers: number; deleted: number }> {
  const random = seededRandom(seed);
  const world = new World();
  // With two SKUs of six values a content comes again about when its object is deleted.
  const kind = random.pick([
    { skus: 2, values: 6 },
    { skus: 3, values: 2 },
    { skus: 12, values: 2 },
    { skus: 900, values: 2 },
  ]);
  const { skus } = kind;
  const later: (() => void)[] = [];
  for (let i = 0; i < skus; i++) world.shop.change(`SKU-${i}`, random.below(2), world.nowMs);
  const all: Owner[] = [];
  let alive: Owner[] = [];
  let page = { asOfMs: 0 };
  const begin = (): Owner => {
    const owner = new Owner(world, ++world.record.epoch);
    all.push(owner);
    alive.push(owner);
    return owner;
  };
  try {
    for (let call = 0; call < CALLS; call++) {
      alive = alive.filter(({ isEnded }) => !isEnded);
      if (alive.length === 0 || (alive.length < maxOwners && random.below(60) === 0)) begin();
      await allWait(alive);
      for (let i = random.below(4); i > 0; i--) changeShop(world, random, kind);
      const running = alive.filter(({ isEnded }) => !isEnded);
      if (running.length === 0) continue;
      // The newest owner goes on more often: the others are frozen for long.
      const owner = random.below(4) > 0 ? (running.at(-1) as Owner) : random.pick(running);
      if (random.below(3) > 0) owner.view.follow();
      decide(owner, random, later, () => {
        alive = alive.filter((each) => each !== owner);
      });
      await nextTurn();
      page = checked(world, page);
      if (later.length > 0 && random.below(20) === 0) {
        later.shift()?.();
        page = checked(world, page);
      }
    }
    for (const call of later) call();
    page = checked(world, page);
    if (maxOwners === 1) await expectNothingLeft(world, begin());
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

/** An owner that nothing disturbs deletes all that those before it have left. */
async function expectNothingLeft(world: World, owner: Owner): Promise<void> {
  for (const endMs = world.nowMs + CALM_MS; world.nowMs < endMs; ) {
    await allWait([owner]);
    owner.view.follow();
    owner.held.shift()?.pass();
    await nextTurn();
    checked(world, { asOfMs: 0 });
  }
  expect(new Set(world.stored.objects.keys())).toEqual(readAsPage(world.stored).names);
}

describe("a publication whose owners fail, die and are frozen at any call", () => {
  it("is complete after every call, and never older than before", async () => {
    const total = { publications: 0, takeovers: 0, deleted: 0 };
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      const { publications, takeovers, deleted } = await run(seed, seed % 2 === 0 ? 1 : MAX_OWNERS).catch((thrown) => {
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
