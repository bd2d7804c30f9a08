/**
 * The demo shop's recipients: stable, varied, and within the WMS contract.
 */
import { describe, expect, it } from "vitest";
import { recipientOf } from "../../../connectors/demo-shop/recipients.js";
import { loadContract, WMS_CONTRACT } from "../../../connectors/wms/index.js";
import { preparePick } from "../../../connectors/wms/payload.js";
import { chainIdFromNumber } from "../../../engine/kernel/chain-id.js";

const AT_MS = Date.UTC(2026, 5, 18);
const ids = Array.from({ length: 2_000 }, (_, i) => chainIdFromNumber("TB", AT_MS, i));

describe("a recipient of the demo shop", () => {
  it("is the same for every try of an order", () => {
    for (const id of ids.slice(0, 20)) expect(recipientOf(id)).toEqual(recipientOf(id));
  });

  it("differs from order to order, and leaves a note once in about fifty", () => {
    const addresses = new Set(ids.map((id) => recipientOf(id).address));
    expect(addresses.size).toBeGreaterThan(1_900);
    const notes = ids.filter((id) => recipientOf(id).note !== undefined).length;
    expect(notes).toBeGreaterThan(10);
    expect(notes).toBeLessThan(100);
  });

  it("fits the WMS contract, with codes for the address", async () => {
    const contract = await loadContract(WMS_CONTRACT);
    for (const order of ids.slice(0, 200)) {
      const { body } = preparePick({
        order,
        placedMs: AT_MS,
        paidMs: AT_MS,
        lines: [{ sku: "TEA-0101", location: "SHA", units: 1 }],
        shipTo: recipientOf(order),
      });
      expect(contract.check(body)).toEqual([]);
      expect(body.addressState).toBe("resolved");
    }
  });
});
