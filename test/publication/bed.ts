/**
 * What tests of publications share: a shop whose displays change and are known at every position, views of it that may
 * be behind, stores and records in memory, and a reader that sees what a page sees. Every call can be held, so that a
 * test decides what happens before it and after.
 */
import { EngineError } from "../../engine/kernel/errors.js";
import type { Discard } from "../../engine/publication/discards.js";
import type { ChangeCollection, DisplaySource } from "../../engine/publication/display-source.js";
import { indexOfLeaf, leafOf } from "../../engine/publication/leaf-of.js";
import { type Manifest, parseManifest } from "../../engine/publication/manifest.js";
import type { PublicationRecord } from "../../engine/publication/publication-record.js";
import type { PublicationStore, PublishedObject } from "../../engine/publication/publication-store.js";

/** A shop: its log of changes, each of one SKU. A position is a number of changes. */
export class Shop {
  readonly log: { sku: string; units: number | undefined; atMs: number }[] = [];
  readonly #histories = new Map<string, { position: number; units: number | undefined }[]>();

  change(sku: string, units: number | undefined, atMs = 0): void {
    this.log.push({ sku, units, atMs });
    const history = this.#histories.get(sku) ?? [];
    history.push({ position: this.log.length, units });
    this.#histories.set(sku, history);
  }

  get skus(): Iterable<string> {
    return this.#histories.keys();
  }

  /** What a SKU had at any moment from a position on. */
  unitsSince(sku: string, position: number): Set<number | undefined> {
    const history = this.#histories.get(sku) ?? [];
    const units = new Set<number | undefined>();
    let at: number | undefined;
    for (const each of history) {
      if (each.position <= position) at = each.units;
      else units.add(each.units);
    }
    return units.add(at);
  }
}

/** A process's view of a shop. */
export class ShopView implements DisplaySource {
  readonly #shop: Shop;
  readonly #now: () => number;
  readonly #displays = new Map<string, number>();
  #position = 0;
  #asOfMs = Number.NEGATIVE_INFINITY;
  #changed: Set<string> | undefined;
  /** How often all SKUs were read. */
  readings = 0;

  constructor(shop: Shop, now: () => number) {
    this.#shop = shop;
    this.#now = now;
    this.follow();
  }

  /** Takes over what the shop's log has; a test may leave the view behind. */
  follow(): void {
    for (; this.#position < this.#shop.log.length; this.#position++) {
      const { sku, units } = this.#shop.log[this.#position] as { sku: string; units: number | undefined };
      if (units === undefined) this.#displays.delete(sku);
      else this.#displays.set(sku, units);
      this.#changed?.add(sku);
    }
    this.#asOfMs = this.#now();
  }

  get skus(): number {
    return this.#displays.size;
  }

  all(): Iterable<readonly [string, number]> {
    this.readings++;
    return this.#displays;
  }

  displayOf(sku: string): number | undefined {
    return this.#displays.get(sku);
  }

  collectChanges(): ChangeCollection {
    this.#changed = new Set();
    return {
      take: () => {
        const taken = this.#changed ?? new Set();
        this.#changed = new Set();
        return taken;
      },
      end: () => {
        this.#changed = undefined;
      },
    };
  }

  asOfMs(): number {
    return this.#asOfMs;
  }

  ageMs(): number {
    return this.#now() - this.#asOfMs;
  }

  positions(): readonly number[] {
    return [this.#position];
  }
}

/** Lets a call happen when it is its turn. */
export type Gate = <Result>(name: string, call: () => Result) => Promise<Result>;

export const openGate: Gate = async (_, call) => call();

/** What is stored, without a process that uses it. */
export class StoredObjects {
  readonly objects = new Map<string, Uint8Array>();
  manifest: { json: Uint8Array; version: string } | undefined;
  versions = 0;
}

/** The weakest store that the contract allows: it knows no epochs. */
export class MemoryPublicationStore implements PublicationStore {
  readonly place = "memory";
  readonly #stored: StoredObjects;
  readonly #gate: Gate;
  /** Names of the objects put, in order. */
  readonly puts: string[] = [];
  readonly deletes: string[] = [];

  constructor(stored: StoredObjects, gate: Gate = openGate) {
    this.#stored = stored;
    this.#gate = gate;
  }

  check(): Promise<void> {
    return this.#gate("check", () => {});
  }

  put(objects: readonly PublishedObject[]): Promise<void> {
    return this.#gate("put", () => {
      for (const { name, identity } of objects) {
        this.puts.push(name);
        this.#stored.objects.set(name, identity);
      }
    });
  }

  delete(names: readonly string[]): Promise<void> {
    return this.#gate("delete", () => {
      for (const name of names) {
        this.deletes.push(name);
        this.#stored.objects.delete(name);
      }
    });
  }

  read(name: string): Promise<Uint8Array | undefined> {
    return this.#gate("read", () => this.#stored.objects.get(name));
  }

  readManifest(): Promise<{ json: Uint8Array; version: string } | undefined> {
    return this.#gate("readManifest", () => this.#stored.manifest);
  }

  replaceManifest(json: Uint8Array, expected: string | undefined): Promise<string | undefined> {
    return this.#gate("replaceManifest", () => {
      if (this.#stored.manifest?.version !== expected) return undefined;
      const version = String(++this.#stored.versions);
      this.#stored.manifest = { json, version };
      return version;
    });
  }
}

/** What Redis keeps beside the lease, without a process that uses it. */
export class StoredRecord {
  epoch = 0;
  dueMs = 0;
  readonly discards = new Map<string, number>();
}

export class MemoryRecord implements PublicationRecord {
  readonly #stored: StoredRecord;
  readonly #epoch: number;
  readonly #gate: Gate;

  constructor(stored: StoredRecord, epoch: number, gate: Gate = openGate) {
    this.#stored = stored;
    this.#epoch = epoch;
    this.#gate = gate;
  }

  read(): Promise<{ dueMs: number; discards: Discard[] }> {
    const { dueMs, discards } = this.#stored;
    return this.#gate("readRecord", () => ({ dueMs, discards: [...discards] }));
  }

  commit({ dueMs, set, removed }: Parameters<PublicationRecord["commit"]>[0]): Promise<void> {
    return this.#gate("commit", () => {
      this.#fence();
      this.#stored.dueMs = dueMs;
      for (const [member, atMs] of set) this.#stored.discards.set(member, atMs);
      for (const member of removed) this.#stored.discards.delete(member);
    });
  }

  async renew(): Promise<void> {
    this.#fence();
  }

  #fence(): void {
    if (this.#epoch === this.#stored.epoch) return;
    const detail = { op: "task.commit", code: "stale_epoch", retryable: false };
    throw new EngineError("another owner has taken over", detail);
  }
}

/** What a page reads. @throws Error when an object that is named does not exist */
export function readAsPage({ objects, manifest }: StoredObjects): {
  manifest: Manifest;
  displays: Map<string, number>;
  /** Of all objects read. */
  names: Set<string>;
} {
  if (!manifest) throw new Error("there is no manifest");
  const parsed = parseManifest(manifest.json, "manifest.json");
  const names = new Set<string>();
  const read = <Shape>(name: string): Shape => {
    names.add(name);
    const bytes = objects.get(name);
    if (!bytes) throw new Error(`${name} is named and does not exist`);
    return JSON.parse(Buffer.from(bytes).toString()) as Shape;
  };
  const displays = new Map<string, number>();
  const counts = { leaves: parsed.leaves, indexes: parsed.index.length };
  for (const [number, name] of parsed.index.entries()) {
    const { leaves, changes } = read<{ leaves: string[]; changes: Record<string, number | null> }>(name);
    const first = number * leaves.length;
    for (const [i, leaf] of leaves.entries()) {
      for (const [sku, units] of Object.entries(read<Record<string, number>>(leaf))) {
        if (leafOf(sku, counts.leaves) !== first + i) throw new Error(`${sku} is in another leaf than its own`);
        displays.set(sku, units);
      }
    }
    for (const [sku, units] of Object.entries(changes)) {
      if (indexOfLeaf(leafOf(sku, counts.leaves), counts) !== number) throw new Error(`${sku} is in another index`);
      if (units === null) displays.delete(sku);
      else displays.set(sku, units);
    }
  }
  if (displays.size !== parsed.skus) throw new Error(`${displays.size} SKUs, not ${parsed.skus}`);
  return { manifest: parsed, displays, names };
}
