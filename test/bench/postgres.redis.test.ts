/**
 * The ledger's benchmark measures PostgreSQL with reservations that are correct: a repeated id reserves nothing, and
 * no more is sold than there is. Against a real server, where this machine has one.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findDriver, type PostgresDriver, PostgresPeer } from "../../bench/postgres/peer.js";
import { findPostgres, type PostgresServer, startPostgres } from "../../bench/postgres/server.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import type { ReserveStock } from "../../engine/stock/model.js";

const programs = await findPostgres(process.env["PATH"] ?? "");
const shape = { connections: 2, batch: 3, synchronousCommit: "on" } as const;
const lines = (sku: string, n: number): ReserveStock[] =>
  Array.from({ length: n }, () => ({
    kind: "reserve",
    id: `${chainId("BE", Date.UTC(2026, 5, 18))}-1`,
    sku,
    location: "main",
    units: 2,
  }));

describe.skipIf(programs === undefined)("PostgreSQL in comparison with the ledger", () => {
  let directory: string;
  let server: PostgresServer;
  let peer: PostgresPeer;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "shuiwei-pg-"));
    server = await startPostgres(programs as string, directory);
    peer = await PostgresPeer.open(server, (await findDriver()) as PostgresDriver);
  });

  afterAll(async () => {
    await peer?.close();
    await server?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it("takes all units there are, over all connections, and not one more", async () => {
    await peer.fill(["CUP", "JUG"], 20);
    expect(await peer.reserve([...lines("CUP", 10), ...lines("JUG", 7)], shape)).toBeGreaterThan(0);
    await expect(peer.reserve(lines("CUP", 1), shape)).rejects.toThrow("stock_sellable_check");
    await expect(peer.reserve(lines("JUG", 4), { ...shape, batch: 4 })).rejects.toThrow("stock_sellable_check");
    await peer.reserve(lines("JUG", 3), shape);
  });

  it("counts a line once, in one batch and in two", async () => {
    await peer.fill(["CUP"], 4);
    const [first, second] = lines("CUP", 2) as [ReserveStock, ReserveStock];
    await expect(peer.reserve([first, first], shape)).rejects.toThrow("refused");
    await expect(peer.reserve([first], shape)).rejects.toThrow("refused");
    await peer.reserve([second], shape);
  });
});
