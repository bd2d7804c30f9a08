/**
 * A backup of a Cluster, every primary's part of it, restored to a Cluster of another size: the audit agrees, and the
 * engine goes on.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { command as auditCommand } from "../../engine/cli/audit.js";
import { command as backupCommand } from "../../engine/cli/backup.js";
import { command as restoreCommand } from "../../engine/cli/restore.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { withEngines } from "../app/engine-builder.js";
import { NO_OBJECTS, runCommand } from "../cli/run-command.js";
import { ClusterBed } from "../redis/cluster.js";
import { withRedis } from "../redis/with-redis.js";

const PREFIX = "moved";
const redis = withRedis();
const engines = withEngines();
const folder = mkdtempSync(join(tmpdir(), "shuiwei-backup-"));
const newId = () => chainId("BK", systemClock.now());
let other: ClusterBed;
beforeAll(async () => {
  other = await ClusterBed.start({ masters: 4, replicasEach: 0 });
});
afterAll(async () => {
  await other?.stop();
  rmSync(folder, { recursive: true, force: true });
});

it("is restored to a Cluster of another size", async () => {
  const out = join(folder, "backup");
  const ids: string[] = [];
  const engine = await engines.start({ redisUrl: redis.url, prefix: PREFIX });
  try {
    const skus = Array.from({ length: 40 }, (_, i) => `SKU-${i}`);
    const goods = { kind: "receive", location: "SH", units: 50 } as const;
    await engine.stock.ledger.applyMany(skus.map((sku) => ({ ...goods, id: newId(), sku })));
    for (let i = 0; i < 20; i++) {
      const order = { id: newId(), lines: [i, i + 11].map((n) => ({ sku: `SKU-${n}`, location: "SH", units: 2 })) };
      expect((await engine.orders.service.place(order)).outcome).toBe("accepted");
      ids.push(order.id);
    }
    await runCommand(backupCommand, { redisUrl: redis.url, dir: "", prefix: PREFIX, out });
  } finally {
    await engine.stop();
  }
  expect(readdirSync(out).sort()).toEqual(["manifest.json", "primary-1.rdb", "primary-2.rdb", "primary-3.rdb"]);

  const target = { redisUrl: other.url, dir: "" };
  await runCommand(restoreCommand, target, [out]);
  const audit = () =>
    runCommand(auditCommand, { ...target, prefix: PREFIX, ...NO_OBJECTS, archive: false, json: false });
  await audit();
  const moved = await engines.start({ redisUrl: other.url, prefix: PREFIX });
  try {
    for (const id of ids) expect((await moved.orders.service.pay(id)).outcome).toBe("accepted");
    await expect.poll(() => moved.topic("stock").follower.lagEntries()).toBe(0);
  } finally {
    await moved.stop();
  }
  await audit();
}, 120_000);
