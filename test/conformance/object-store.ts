/**
 * What every ObjectStore does (connectors/objects/object-store.ts), as tests that a storage's own test file runs. They
 * reach the storage by its contract only. What only one kind of storage has (modes of files, signatures, redirects) is
 * tested beside it.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MAX_OBJECT_BYTES, type ObjectStore } from "../../connectors/objects/object-store.js";
import { EngineError } from "../../engine/kernel/errors.js";

type Operation = "put" | "get" | "delete";
const OPERATIONS: readonly Operation[] = ["put", "get", "delete"];

/** An empty storage, for one test. */
export interface ObjectStoreBed {
  readonly store: ObjectStore;
  /** The same storage as another process opens it. */
  reopen(): ObjectStore;
  /** One that does not work now, and may work later. */
  unreachable(): Promise<ObjectStore>;
  /** One that does not work until an operator changes something. */
  denied(): Promise<ObjectStore>;
  close(): Promise<void>;
}

export interface ObjectStoreFeatures {
  /** Operations that can tell an unreachable storage from an empty one. */
  readonly noticesUnreachable: readonly Operation[];
  /** Texts that no error may contain. */
  readonly secrets: readonly string[];
}

const KEY = "orders/2026-06-17/WB0123456789.json";
/** Each is a key of its own, beside the others. */
const KEYS = [
  "a",
  "A",
  "a/b",
  "a/b.c",
  "a-b",
  "a_b",
  "a..b",
  "a.",
  "0",
  "a/b/c/d/e/f/g",
  `${"k".repeat(99)}/${"l".repeat(100)}`,
];
const NO_KEYS = [
  "",
  "/",
  "/a",
  "a/",
  "a//b",
  "..",
  "../a",
  "a/../b",
  "a/./b",
  ".a",
  "a/.b",
  "a b",
  "a?b",
  "a%2fb",
  "a\\b",
  "a\u0000b",
  "地址",
  "x".repeat(201),
];

/** @param open makes an empty storage; called before each test, and its bed closed after it */
export function describeObjectStore(
  name: string,
  features: ObjectStoreFeatures,
  open: () => Promise<ObjectStoreBed>,
): void {
  describe(`${name}, as an object storage,`, () => {
    let bed: ObjectStoreBed;
    beforeEach(async () => {
      bed = await open();
    });
    afterEach(() => bed.close());

    const bytesOf = (text: string): Uint8Array => Buffer.from(text);
    const put = (key: string, bytes: Uint8Array, store = bed.store) => store.put(key, bytes, "application/json");
    const get = async (key: string, store = bed.store): Promise<string | undefined> => {
      const bytes = await store.get(key);
      return bytes && Buffer.from(bytes).toString();
    };
    const run = (operation: Operation, store: ObjectStore, key = KEY, signal?: AbortSignal): Promise<unknown> =>
      operation === "put" ? store.put(key, bytesOf("x"), "text/plain", signal) : store[operation](key, signal);

    it("has what was put last, also for another process", async () => {
      await put(KEY, bytesOf("first"));
      await put(KEY, bytesOf("第二"));
      expect(await get(KEY)).toBe("第二");
      expect(await get(KEY, bed.reopen())).toBe("第二");
    });

    it("has nothing under a key that was never put, or was deleted, which may be done again", async () => {
      expect(await get(KEY)).toBeUndefined();
      await bed.store.delete(KEY);
      await put(KEY, bytesOf("x"));
      await put(`${KEY}.other`, bytesOf("y"));
      await bed.store.delete(KEY);
      await bed.store.delete(KEY);
      expect(await get(KEY)).toBeUndefined();
      expect(await get(KEY, bed.reopen())).toBeUndefined();
      expect(await get(`${KEY}.other`)).toBe("y");
      await put(KEY, bytesOf("again"));
      expect(await get(KEY)).toBe("again");
    });

    it("keeps the object of each key apart", async () => {
      await Promise.all(KEYS.map((key) => put(key, bytesOf(`of ${key}`))));
      expect(await Promise.all(KEYS.map((key) => get(key)))).toEqual(KEYS.map((key) => `of ${key}`));
    });

    it.each([0, 1, MAX_OBJECT_BYTES])("keeps an object of %i bytes", async (size) => {
      const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 31) & 0xff);
      await put(KEY, bytes);
      const kept = await bed.store.get(KEY);
      expect(kept?.length).toBe(size);
      expect(Buffer.from(kept as Uint8Array).equals(bytes)).toBe(true);
    });

    it("keeps bytes of its own: neither the caller's nor a reader's changes reach them", async () => {
      const whole = Buffer.from("xxhelloxx");
      await put(KEY, whole.subarray(2, 7));
      whole.fill("?");
      (await bed.store.get(KEY))?.fill(0);
      expect(await get(KEY)).toBe("hello");
    });

    it("has one whole object at any time while several are put", async () => {
      const bodies = Array.from({ length: 12 }, (_, i) => Buffer.alloc(20_000 + i, i + 65).toString());
      await put(KEY, bytesOf(bodies[0] as string));
      const puts = Promise.all(
        bodies.map((body, i) => put(KEY, bytesOf(body), i % 2 === 0 ? bed.store : bed.reopen())),
      );
      for (let i = 0; i < 12; i++) expect(bodies).toContain(await get(KEY));
      await puts;
      expect(bodies).toContain(await get(KEY));
    });

    it.each(OPERATIONS)("refuses what is no key: %s", async (operation) => {
      for (const key of NO_KEYS)
        await expect(run(operation, bed.store, key)).rejects.toMatchObject({ code: "bad_input", retryable: false });
    });

    it("refuses more bytes than are allowed, and keeps the object as it was", async () => {
      await put(KEY, bytesOf("before"));
      await expect(put(KEY, new Uint8Array(MAX_OBJECT_BYTES + 1))).rejects.toMatchObject({
        code: "bad_input",
        retryable: false,
      });
      expect(await get(KEY)).toBe("before");
    });

    it.each(OPERATIONS)("does nothing for a caller that has stopped: %s", async (operation) => {
      await put(KEY, bytesOf("before"));
      const signal = AbortSignal.abort(new Error("stopped"));
      await expect(run(operation, bed.store, KEY, signal)).rejects.toThrow("stopped");
      expect(await get(KEY)).toBe("before");
    });

    it.each(OPERATIONS)("reports that an operator must act first: %s", async (operation) => {
      const thrown = await faultOf(run(operation, await bed.denied()));
      expect(thrown).toMatchObject({ code: "objects_refused", retryable: false });
      expectUseful(thrown);
    });

    it.each(features.noticesUnreachable)("reports that it may work later: %s", async (operation) => {
      const thrown = await faultOf(run(operation, await bed.unreachable()));
      expect(thrown).toMatchObject({ code: "objects_unavailable", retryable: true });
      expectUseful(thrown);
    });

    /** An error is one sentence that names the key or the place, without a credential in it or in its causes. */
    function expectUseful(thrown: EngineError): void {
      expect(thrown.message.length).toBeGreaterThan(20);
      let text = "";
      for (let cause: unknown = thrown; cause instanceof Error; cause = cause.cause) text += `${cause.stack}\n`;
      for (const secret of features.secrets) expect(text).not.toContain(secret);
    }
  });
}

async function faultOf(call: Promise<unknown>): Promise<EngineError> {
  const thrown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(thrown).toBeInstanceOf(EngineError);
  return thrown as EngineError;
}
