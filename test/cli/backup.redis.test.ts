/**
 * A backup made beside a running engine, restored to where nothing is: the same units, orders and log, proved by the
 * audit, and the engine continues from there. A damaged one is refused before anything is written.
 */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Sessions } from "../../connectors/http/index.js";
import type { Engine } from "../../engine/app/engine.js";
import { command as auditCommand } from "../../engine/cli/audit.js";
import { command as backupCommand } from "../../engine/cli/backup.js";
import { command as restoreCommand } from "../../engine/cli/restore.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { Ledger } from "../../engine/stock/ledger.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withEngines } from "../app/engine-builder.js";
import { withRedis } from "../redis/with-redis.js";
import { NO_OBJECTS, runCommand } from "./run-command.js";

const PREFIX = "kept";
const redis = withRedis({ persistence: true });
const folder = mkdtempSync(join(tmpdir(), "shuiwei-backup-"));
const engines = withEngines();
const path = (name: string): string => join(folder, name);
const newId = () => chainId("BK", systemClock.now());
const where = { redisUrl: undefined, prefix: PREFIX } as const;
let engine: Engine;
const orders: string[] = [];
const PAIRING = { name: "boss/wall", role: "read", forMs: 3_600_000 } as const;
let secret: string;
let code: string;

async function cellsOf(client: RedisClient): Promise<Record<string, unknown>> {
  const cells: Record<string, unknown> = {};
  const ledger = new Ledger({ redis: client, prefix: PREFIX, partitions: 4 });
  for (let partition = 0; partition < 4; partition++)
    for await (const { sku, location, balances } of ledger.cells(partition)) cells[`${sku} ${location}`] = balances;
  return cells;
}

beforeAll(async () => {
  engine = await engines.start({ redisUrl: redis.url, prefix: PREFIX });
  const place = { location: "SH", units: 100 };
  const skus = Array.from({ length: 20 }, (_, i) => `SKU-${i}`);
  await engine.stock.ledger.applyMany(skus.map((sku) => ({ kind: "receive", id: newId(), sku, ...place }) as const));
  for (let i = 0; i < 40; i++) {
    const lines = [0, 7].map((step) => ({ sku: `SKU-${(i + step) % 20}`, location: "SH", units: 1 + (i % 3) }));
    const order = { id: newId(), lines };
    expect((await engine.orders.service.place(order)).outcome).toBe("accepted");
    orders.push(order.id);
    if (i % 2 === 0) expect((await engine.orders.service.pay(order.id)).outcome).toBe("accepted");
  }
  const sessions = new Sessions(engine.redis, PREFIX);
  const session = await sessions.create(PAIRING);
  secret = session?.secret as string;
  code = (await sessions.createPairing(PAIRING)).code;
  await runCommand(backupCommand, { redisUrl: redis.url, dir: "", prefix: PREFIX, out: path("backup") });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a backup", () => {
  it("can be read by its owner only, and is not written to a folder that is not empty", async () => {
    expect(statSync(path("backup")).mode & 0o077).toBe(0);
    expect(statSync(path("backup/manifest.json")).mode & 0o077).toBe(0);
    expect(statSync(path("backup/primary-1.rdb")).mode & 0o077).toBe(0);
    const again = runCommand(backupCommand, { redisUrl: redis.url, dir: "", prefix: PREFIX, out: path("backup") });
    await expect(again).rejects.toMatchObject({ code: "bad_input", message: expect.stringContaining("not empty") });
  });

  it("restored has the same units by the audit, and the engine continues with its orders", async () => {
    const kept = await cellsOf(engine.redis);
    // What comes after the backup is not in it.
    expect((await engine.orders.service.cancel(orders[1] as string)).outcome).toBe("accepted");
    await runCommand(restoreCommand, { redisUrl: undefined, dir: path("restored") }, [path("backup")]);
    await runCommand(auditCommand, { ...where, dir: path("restored"), ...NO_OBJECTS, archive: false, json: false });

    const restored = await engines.start({ ...where, dir: path("restored") });
    try {
      expect(await cellsOf(restored.redis)).toEqual(kept);
      // Sessions that have ended since, and used codes, are not restored.
      const sessions = new Sessions(restored.redis, PREFIX);
      expect([await sessions.find(secret), await sessions.redeem(code)]).toEqual([undefined, undefined]);
      expect((await restored.orders.service.pay(orders[1] as string)).outcome).toBe("accepted");
      expect(await restored.orders.service.pay(orders[0] as string)).toMatchObject({
        outcome: "accepted",
        repeated: true,
      });
      expect((await restored.orders.service.outbound(orders[0] as string)).outcome).toBe("accepted");
      await expect.poll(() => restored.topic("stock").follower.lagEntries()).toBe(0);
    } finally {
      await restored.stop();
    }
    await runCommand(auditCommand, { ...where, dir: path("restored"), ...NO_OBJECTS, archive: false, json: false });
  });

  it("is not restored over anything", async () => {
    const refused = { code: "bad_input" };
    await expect(runCommand(restoreCommand, { redisUrl: redis.url, dir: "" }, [path("backup")])).rejects.toMatchObject(
      refused,
    );
    const dir = path("restored");
    await expect(runCommand(restoreCommand, { redisUrl: undefined, dir }, [path("backup")])).rejects.toMatchObject(
      refused,
    );
  });

  it("that is damaged, truncated, unfinished or of another version is refused, and nothing is created", async () => {
    const file = path("backup/primary-1.rdb");
    const manifest = path("backup/manifest.json");
    const [bytes, text] = [readFileSync(file), readFileSync(manifest, "utf8")];
    const damaged = Buffer.from(bytes);
    damaged[bytes.length >> 1] = (damaged[bytes.length >> 1] as number) ^ 1;
    const damages: [work: () => void, words: string][] = [
      [() => writeFileSync(file, damaged), "damaged"],
      [() => truncateSync(file, bytes.length - 1), "damaged"],
      [() => appendFileSync(file, "x"), "damaged"],
      [() => rmSync(file), "missing"],
      [() => writeFileSync(manifest, text.slice(0, -9)), "cannot be read"],
      [() => writeFileSync(manifest, '{"version":2}'), "can read"],
      [() => rmSync(manifest), "not a finished backup"],
    ];
    for (const [damage, words] of damages) {
      damage();
      const restoring = runCommand(restoreCommand, { redisUrl: undefined, dir: path("nothing") }, [path("backup")]);
      await expect(restoring, words).rejects.toMatchObject({
        code: "bad_input",
        message: expect.stringContaining(words),
      });
      writeFileSync(file, bytes);
      writeFileSync(manifest, text);
    }
    expect(() => statSync(path("nothing"))).toThrow();
  });
});
