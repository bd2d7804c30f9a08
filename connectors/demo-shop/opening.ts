/**
 * The demo shop's opening: the receipts that bring the catalogue's stock into the ledger. Pure: the same arguments give
 * the same commands.
 */
import { chainId } from "../../engine/kernel/chain-id.js";
import type { StockCommand } from "../../engine/stock/model.js";
import type { Catalogue } from "./catalogue.js";

/** The receipts that open the shop: sellable, safety and presale units of every cell, all at `atMs`. */
export function openingCommands(catalogue: Catalogue, atMs: number): StockCommand[] {
  const commands: StockCommand[] = [];
  const cause = { actor: "stocktaking", reason: "opening stock" };
  for (const { code, cells } of catalogue.skus) {
    for (const { location, ...cell } of cells) {
      for (const pool of ["sellable", "safety", "presale"] as const) {
        const units = cell[`${pool}Units`];
        if (units === 0) continue;
        const id = chainId("RC", atMs, `opening/${code}/${location}/${pool}`);
        commands.push({ kind: "receive", id, sku: code, location, units, pool, atMs, ...cause });
      }
    }
  }
  return commands;
}
