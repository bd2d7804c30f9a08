/**
 * The demo shop's opening: the receipts that bring the stock into the ledger, and the category of each SKU. Pure: the
 * same arguments give the same commands.
 */
import { chainId } from "../../engine/kernel/chain-id.js";
import type { StockCommand } from "../../engine/stock/model.js";
import { type Catalogue, WAREHOUSES } from "./catalogue.js";

/** What opens the shop, all at `atMs`: sellable, safety and presale units of every cell, and every SKU's category. */
export function openingCommands(catalogue: Catalogue, atMs: number): StockCommand[] {
  const commands: StockCommand[] = [];
  const cause = { actor: "stocktaking", reason: "opening stock" };
  for (const { code, categoryId, cells } of catalogue.skus) {
    for (const { location, ...cell } of cells) {
      for (const pool of ["sellable", "safety", "presale"] as const) {
        const units = cell[`${pool}Units`];
        if (units === 0) continue;
        const id = chainId("RC", atMs, `opening/${code}/${location}/${pool}`);
        commands.push({ kind: "receive", id, sku: code, location, units, pool, atMs, ...cause });
      }
    }
    const id = chainId("RC", atMs, `opening/${code}/category`);
    const { location } = WAREHOUSES[0];
    commands.push({ kind: "configure", id, sku: code, location, settings: {}, category: categoryId, atMs });
  }
  return commands;
}
