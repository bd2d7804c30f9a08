/**
 * The demo shop's payments: stable, plausible, and such as an order may carry.
 */
import { describe, expect, it } from "vitest";
import { paymentOf } from "../../../connectors/demo-shop/payments.js";
import { chainIdFromNumber } from "../../../engine/kernel/chain-id.js";
import { detailFaultOf } from "../../../engine/orders/order-details.js";
import { LATEST_FORMAT } from "../../../engine/stream/format.js";

const ids = Array.from({ length: 500 }, (_, i) => chainIdFromNumber("TB", Date.UTC(2026, 5, 18), i));
const line = (sku: string, units: number) => ({ sku, location: "SHA", units });

describe("a payment of the demo shop", () => {
  it("is the same for every try of an order, and the sum of its lines", () => {
    const id = ids[0] as string;
    const amountOf = (...lines: ReturnType<typeof line>[]) => paymentOf(id, lines).amount as number;
    const [tea, cup] = [line("TEA-0101", 2), line("CUP-0007", 1)];
    expect(paymentOf(id, [tea, cup])).toEqual(paymentOf(id, [tea, cup]));
    expect(amountOf(tea, cup)).toBe(amountOf(tea) + amountOf(cup));
    expect(amountOf(tea)).toBe(2 * amountOf(line("TEA-0101", 1)));
    expect(amountOf(cup)).toBeGreaterThanOrEqual(1_900);
  });

  it("can be stored with its order, in one of three kinds", () => {
    const payments = ids.map((id) => paymentOf(id, [line("TEA-0101", 1)]));
    for (const payment of payments) expect(detailFaultOf(payment, LATEST_FORMAT)).toBeUndefined();
    expect(new Set(payments.map(({ paymentKind }) => paymentKind))).toEqual(new Set(["alipay", "wechat-pay", "card"]));
  });
});
