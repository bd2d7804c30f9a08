/**
 * The audit of an archive: a sound one passes, and each kind of damage is found and named: a changed byte anywhere, a
 * missing object, two exchanged objects, a wrong closing, and an archive that does not meet the log.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { auditArchive } from "../../engine/audit/archive-audit.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { archiveKeys, stockKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { type ArchiveBed, archiveBed } from "../history/archive-bed.js";
import { withRedis } from "../redis/with-redis.js";

const redis = withRedis();
const SEED = Number(process.env["SHUIWEI_SEED"] ?? 618);
const PREFIX = "audited";
let client: RedisClient;
let bed: ArchiveBed;

beforeAll(() => {
  client = redis.connect();
});
beforeEach(async () => {
  await redis.flush();
  bed = await archiveBed(client, PREFIX, 1, seededRandom(SEED));
  await bed.trade(400);
  await bed.archive();
});

const audit = () =>
  auditArchive({
    redis: client,
    prefix: PREFIX,
    partitions: 1,
    store: bed.store,
    signal: new AbortController().signal,
  });
const keysOf = (kind: string): string[] => [...bed.store.objects.keys()].filter((key) => key.includes(`/${kind}/`));
const bytesOf = (key: string): Uint8Array => bed.store.objects.get(key) as Uint8Array;

describe("the audit of an archive", () => {
  it("passes a sound one, and compares every entry that Redis still has and every closing", async () => {
    const report = await audit();
    expect(report.findings).toEqual([]);
    expect(report.notes).toEqual([]);
    expect(report.closings).toBeGreaterThan(1);
    expect(report.live).toBe(report.entries);
    await bed.trim(5);
    expect(await audit()).toMatchObject({ findings: [], live: 5, entries: report.entries });
  });

  it("finds one changed byte in any object, and names the object", async () => {
    const random = seededRandom(SEED);
    for (const kind of ["manifests", "segments", "closings"])
      for (let round = 0; round < 8; round++) {
        const key = random.pick(keysOf(kind));
        const sound = bytesOf(key);
        const changed = Uint8Array.from(sound);
        const at = random.below(changed.length);
        changed[at] = (changed[at] as number) ^ (1 << random.below(8));
        bed.store.objects.set(key, changed);
        const { findings } = await audit();
        expect(
          findings.map((finding) => finding.key),
          `SHUIWEI_SEED=${SEED} ${key} byte ${at}`,
        ).toContain(key);
        bed.store.objects.set(key, sound);
      }
    expect((await audit()).findings).toEqual([]);
  });

  it("names a manifest that looks like one of a newer release", async () => {
    const [key = ""] = keysOf("manifests");
    const changed = Buffer.from(bytesOf(key)).toString().replace('"version":1', '"version":3');
    bed.store.objects.set(key, Buffer.from(changed));
    expect((await audit()).findings).toContainEqual(
      expect.objectContaining({ key, words: expect.stringContaining("newer release") }),
    );
  });

  it("finds a missing object, and two that were exchanged, and names them", async () => {
    for (const kind of ["manifests", "segments", "closings"]) {
      const [one, other] = keysOf(kind) as [string, string];
      const [a, b] = [bytesOf(one), bytesOf(other)];
      bed.store.objects.delete(one);
      const missing = await audit();
      expect(missing.findings).toContainEqual(expect.objectContaining({ key: one }));
      expect(missing.findings.find(({ key }) => key === one)?.words).toContain("missing");
      bed.store.objects.set(one, b).set(other, a);
      const found = (await audit()).findings.map(({ key }) => key);
      expect(found).toContain(one);
      expect(found).toContain(other);
      bed.store.objects.set(one, a).set(other, b);
    }
    expect((await audit()).findings).toEqual([]);
  });

  it("finds entries that differ from the log's, and entries that are in neither", async () => {
    const { log } = stockKeys(PREFIX, 0);
    const [entry] = await client.xrange(log, "-", "+", "COUNT", 1);
    const [id, fields] = entry as [string, string[]];
    await client.xtrim(log, "MAXLEN", 0);
    await client.xsetid(log, "0-0").catch(() => {});
    await client.del(log);
    await client.xadd(log, id, ...fields, "+x", "1");
    expect((await audit()).findings).toContainEqual(
      expect.objectContaining({ words: expect.stringContaining("differs from the log's") }),
    );
    await client.del(log);
    await client.xadd(log, "5000-0", "t", "1");
    expect((await audit()).findings).toContainEqual(
      expect.objectContaining({ words: expect.stringContaining("in neither the archive nor the log") }),
    );
  });

  it("notes an archive that goes further than Redis, and finds a head that is missing or damaged", async () => {
    const [head = ""] = [...bed.store.objects.keys()].filter((key) => key.endsWith("/head"));
    const sound = bytesOf(head);
    bed.store.objects.delete(head);
    expect((await audit()).findings).toEqual([expect.objectContaining({ key: head })]);
    bed.store.objects.set(head, Buffer.from("{"));
    expect((await audit()).findings).toEqual([expect.objectContaining({ key: head })]);
    for (const changed of [
      Buffer.from(sound)
        .toString()
        .replace(/"last":(\d)/, '"last":9$1'),
      Buffer.from(sound)
        .toString()
        .replace(/"sha256":"./, '"sha256":"_'),
    ]) {
      bed.store.objects.set(head, Buffer.from(changed));
      expect((await audit()).findings, changed).toEqual([expect.objectContaining({ key: head })]);
    }
    bed.store.objects.set(head, sound);
    await client.del(archiveKeys(PREFIX, "stock", 0).task);
    const { partitions, notes } = await audit();
    expect(partitions).toBe(0);
    expect(notes.join()).toContain("Redis is that of an earlier time");
  });

  it("finds no damage in what is removed for its age while it reads", async () => {
    const { task } = archiveKeys(PREFIX, "stock", 0);
    const [oldest = ""] = keysOf("manifests").toSorted();
    const text = await client.hget(task, "archive");
    const store = Object.assign(Object.create(bed.store) as typeof bed.store, {
      get: async (key: string) => {
        // Removed at the last moment.
        if (key === oldest) await client.hset(task, "archive", (text ?? "").replace('"oldest":1', '"oldest":2'));
        return key === oldest ? undefined : bed.store.get(key);
      },
    });
    const { signal } = new AbortController();
    const options = { redis: client, prefix: PREFIX, partitions: 1, store, signal };
    expect(await auditArchive(options)).toMatchObject({ findings: [] });
  });

  it("finds a log that ends before the archive", async () => {
    await client.hset(stockKeys(PREFIX, 0).head, "offset", 3);
    expect((await audit()).findings).toEqual([
      expect.objectContaining({ words: expect.stringContaining("but the log ends at 3") }),
    ]);
  });

  it("notes a gap that was recorded, and begins the fold again after it", async () => {
    await bed.trade(150);
    await bed.trim(80);
    await bed.archive();
    const { findings, notes } = await audit();
    expect(findings).toEqual([]);
    expect(notes.length).toBeLessThanOrEqual(2);
  });
});
