/**
 * What every PublicationStore does (engine/publication/publication-store.ts), as tests that a store's own test file
 * runs. They reach the store by its contract only. What one kind has beside it (files that nginx serves, headers of a
 * bucket) is tested elsewhere.
 */
import { createHash } from "node:crypto";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EngineError } from "../../engine/kernel/errors.js";
import type { PublicationStore, PublishedObject } from "../../engine/publication/publication-store.js";

/** An empty store, for one test. */
export interface PublicationStoreBed {
  readonly store: PublicationStore;
  /** The same store as another process opens it. */
  reopen(): PublicationStore;
  /** One that does not work now. */
  unreachable(): Promise<PublicationStore>;
  close(): Promise<void>;
}

/** An object with some SKUs. */
function objectOf(skus: Readonly<Record<string, number>>): PublishedObject {
  const identity = Buffer.from(JSON.stringify(skus));
  const name = createHash("sha256").update(identity).digest("base64url").slice(0, 16);
  return { name, identity, gzip: gzipSync(identity), br: brotliCompressSync(identity) };
}

const manifestOf = (number: number, names: readonly string[] = []): Uint8Array =>
  Buffer.from(JSON.stringify({ v: 1, number, index: names }));
const writer = (epoch: number) => ({ epoch, cacheSeconds: 1 });

/** @param open makes an empty store; called before each test, and its bed closed after it */
export function describePublicationStore(name: string, open: () => Promise<PublicationStoreBed>): void {
  describe(`${name}, as a store of publications,`, () => {
    let bed: PublicationStoreBed;
    let store: PublicationStore;
    beforeEach(async () => {
      bed = await open();
      store = bed.store;
    });
    afterEach(() => bed.close());

    const textOf = async (object: string, from = store): Promise<string | undefined> => {
      const bytes = await from.read(object);
      return bytes && Buffer.from(bytes).toString();
    };
    const manifestText = async (from = store): Promise<string | undefined> => {
      const stored = await from.readManifest();
      return stored && Buffer.from(stored.json).toString();
    };

    it("has nothing at first", async () => {
      expect(await store.readManifest()).toBeUndefined();
      expect(await store.read("AAAAAAAAAAAAAAAA")).toBeUndefined();
    });

    it("has every object that was put, also for another process", async () => {
      const objects = Array.from({ length: 150 }, (_, i) => objectOf({ [`衬衫-${i}`]: i }));
      await store.put(objects);
      const other = bed.reopen();
      for (const { name, identity } of objects)
        expect(await textOf(name, other)).toBe(Buffer.from(identity).toString());
    });

    it("may be put the same object again, also by another process at the same time", async () => {
      const objects = Array.from({ length: 40 }, (_, i) => objectOf({ a: i }));
      await Promise.all([store.put(objects), bed.reopen().put(objects), store.put(objects)]);
      await store.put(objects);
      for (const { name, identity } of objects) expect(await textOf(name)).toBe(Buffer.from(identity).toString());
    });

    it("deletes objects, and those that do not exist are no error", async () => {
      const [kept, gone] = [objectOf({ a: 1 }), objectOf({ b: 2 })];
      await store.put([kept, gone]);
      await store.delete([gone.name, "AAAAAAAAAAAAAAAA"]);
      await store.delete([gone.name]);
      expect(await textOf(gone.name)).toBeUndefined();
      expect(await textOf(kept.name)).toBe('{"a":1}');
      await store.put([gone]);
      expect(await textOf(gone.name)).toBe('{"b":2}');
    });

    it("puts and deletes nothing when nothing is asked for", async () => {
      await store.put([]);
      await store.delete([]);
      expect(await store.readManifest()).toBeUndefined();
    });

    it("replaces the manifest that was read, and gives the version for the next time", async () => {
      const first = await store.replaceManifest(manifestOf(1), undefined, writer(1));
      expect(first).toEqual(expect.any(String));
      expect(await store.readManifest()).toMatchObject({ version: first });
      const second = await store.replaceManifest(manifestOf(2), first, writer(1));
      expect(second).not.toBe(first);
      expect(await bed.reopen().readManifest()).toMatchObject({ version: second });
      expect(await manifestText()).toBe('{"v":1,"number":2,"index":[]}');
    });

    it("refuses a writer that expects none, or another version, and keeps what it has", async () => {
      const first = await store.replaceManifest(manifestOf(1), undefined, writer(1));
      const second = await store.replaceManifest(manifestOf(2), first, writer(1));
      const other = bed.reopen();
      expect(await other.replaceManifest(manifestOf(3), undefined, writer(2))).toBeUndefined();
      expect(await other.replaceManifest(manifestOf(3), first, writer(2))).toBeUndefined();
      expect(await manifestText()).toBe('{"v":1,"number":2,"index":[]}');
      expect(await other.replaceManifest(manifestOf(3), second, writer(2))).toEqual(expect.any(String));
    });

    it("refuses a writer whose lease another has taken over, even one that has read the newest manifest", async () => {
      const first = await store.replaceManifest(manifestOf(1), undefined, writer(7));
      expect(await store.replaceManifest(manifestOf(2), first, writer(6))).toBeUndefined();
      const read = await bed.reopen().readManifest();
      expect(await bed.reopen().replaceManifest(manifestOf(2), read?.version, writer(6))).toBeUndefined();
      expect(await manifestText()).toBe('{"v":1,"number":1,"index":[]}');
      expect(await store.replaceManifest(manifestOf(3), first, writer(8))).toEqual(expect.any(String));
    });

    it("has the version of a manifest that was replaced by one with the same text for another one", async () => {
      const first = await store.replaceManifest(manifestOf(1), undefined, writer(1));
      const second = await store.replaceManifest(manifestOf(2), first, writer(1));
      await store.replaceManifest(manifestOf(1), second, writer(1));
      expect(await store.replaceManifest(manifestOf(4), second, writer(1))).toBeUndefined();
    });

    it("lets at most one of several writers replace the same manifest", async () => {
      let version = await store.replaceManifest(manifestOf(0), undefined, writer(1));
      for (let round = 1; round <= 10; round++) {
        const stores = [store, bed.reopen(), bed.reopen(), bed.reopen()];
        const versions = await Promise.all(
          stores.map((each, i) => each.replaceManifest(manifestOf(round * 10 + i), version, writer(1))),
        );
        const winners = versions.filter((each) => each !== undefined);
        expect(winners).toHaveLength(1);
        const stored = await store.readManifest();
        expect(stored?.version).toBe(winners[0]);
        const winner = versions.indexOf(winners[0]);
        expect(Buffer.from(stored?.json ?? []).toString()).toBe(
          Buffer.from(manifestOf(round * 10 + winner)).toString(),
        );
        version = winners[0];
      }
    });

    it("shows readers one complete publication or the next while it is replaced", async () => {
      const rows = (number: number) =>
        objectOf({ number, ...Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`sku-${i}`, i])) });
      let version: string | undefined;
      let stored = 0;
      const publish = async (): Promise<void> => {
        for (let number = 1; number <= 20; number++) {
          await store.put([rows(number)]);
          version = await store.replaceManifest(manifestOf(number, [rows(number).name]), version, writer(1));
          stored = number;
        }
      };
      const reader = bed.reopen();
      const read = async (): Promise<void> => {
        let seen = 0;
        while (stored < 20) {
          const text = await manifestText(reader);
          if (text === undefined) continue;
          const { number, index } = JSON.parse(text) as { number: number; index: string[] };
          expect(number).toBeGreaterThanOrEqual(seen);
          seen = number;
          expect(JSON.parse((await textOf(index[0] as string, reader)) ?? "null")).toMatchObject({ number });
        }
      };
      await Promise.all([publish(), read(), read()]);
      expect(await manifestText(reader)).toContain('"number":20');
    });

    it("does nothing for a caller that has stopped", async () => {
      const object = objectOf({ a: 1 });
      await store.put([object]);
      const version = await store.replaceManifest(manifestOf(1), undefined, writer(1));
      const signal = AbortSignal.abort(new Error("stopped"));
      await expect(store.put([objectOf({ b: 2 })], signal)).rejects.toThrow("stopped");
      await expect(store.delete([object.name], signal)).rejects.toThrow("stopped");
      await expect(store.read(object.name, signal)).rejects.toThrow("stopped");
      await expect(store.readManifest(signal)).rejects.toThrow("stopped");
      await expect(store.replaceManifest(manifestOf(2), version, writer(1), signal)).rejects.toThrow("stopped");
      expect(await textOf(object.name)).toBe('{"a":1}');
      expect(await textOf(objectOf({ b: 2 }).name)).toBeUndefined();
      expect(await store.readManifest()).toMatchObject({ version });
    });

    it("says of itself where it is", () => expect(store.place).toMatch(/^\S+$/));

    it("reports that it does not work now, in a sentence", async () => {
      const away = await bed.unreachable();
      for (const call of [
        () => away.put([objectOf({ a: 1 })]),
        () => away.replaceManifest(manifestOf(1), undefined, writer(1)),
      ]) {
        const thrown = await call().then(
          () => undefined,
          (reason: unknown) => reason,
        );
        expect(thrown).toBeInstanceOf(EngineError);
        expect((thrown as EngineError).message.length).toBeGreaterThan(20);
      }
    });
  });
}
