/** What the details of an order add to its fingerprint, and which cannot be stored. */
import { describe, expect, it } from "vitest";
import type { Order, OrderDetails } from "../../engine/orders/model.js";
import { detailFaultOf, detailsOf } from "../../engine/orders/order-details.js";
import { prepareOrder } from "../../engine/orders/placement.js";

const DETAILS: OrderDetails = {
  amount: Number.MAX_SAFE_INTEGER,
  currency: "CNY",
  paymentKind: "alipay",
  buyer: "buyer-81027",
  attributes: { "address.kind": "hotel", score: 0.15, first: true },
};
const tea = { sku: "TEA", location: "SH", units: 2 };
const printOf = (details: OrderDetails, more: Partial<Order> = {}): number =>
  prepareOrder({ id: "WB-1", lines: [tea], ...more, ...details }).fingerprint;

describe("the fingerprint of an order", () => {
  it("without details is the one that earlier releases stored", () => {
    const cup = { sku: "CUP", location: "SH", units: 1, pool: "presale" } as const;
    expect(printOf({})).toBe(3640965279153024);
    expect(printOf({}, { lines: [tea, cup], shipTo: { name: "李伟", city: "杭州市" }, holdMs: 1_000 })).toBe(
      8848647755504656,
    );
  });

  it("is the same for attributes in another order, and for none", () => {
    const { attributes = {} } = DETAILS;
    const turned = Object.fromEntries(Object.entries(attributes).reverse());
    expect(printOf({ ...DETAILS, attributes: turned })).toBe(printOf(DETAILS));
    expect(printOf({ attributes: {} })).toBe(printOf({}));
  });

  it("differs with each detail", () => {
    const others: OrderDetails[] = [
      {},
      DETAILS,
      { ...DETAILS, amount: 0 },
      { ...DETAILS, currency: "USD" },
      { ...DETAILS, paymentKind: "card" },
      { ...DETAILS, buyer: "alipay" },
      { ...DETAILS, attributes: {} },
      { ...DETAILS, attributes: { ...DETAILS.attributes, first: false } },
      { ...DETAILS, attributes: { ...DETAILS.attributes, first: "true" } },
      { buyer: "x" },
      { paymentKind: "x" },
      { attributes: { buyer: "x" } },
    ];
    expect(new Set(others.map((details) => printOf(details))).size).toBe(others.length);
  });
});

describe("details that cannot be stored", () => {
  it.each<[string, OrderDetails, number, string | undefined, string]>([
    ["an amount alone", { amount: 1 }, 3, "currency", "needs its currency"],
    ["a currency alone", { currency: "CNY" }, 3, "amount", "belongs to an amount"],
    ["attributes above the limit", { attributes: sized(4_097) }, 3, "attributes", "at most 4096 bytes"],
    ["any in format 2", { buyer: "b-1" }, 2, "buyer", "format 3"],
  ])("are %s", (_what, details, format, field, message) => {
    const fault = detailFaultOf(details, format);
    expect(fault).toEqual({ field, message: expect.stringContaining(message) });
  });

  it("are none of those within the limits, and an order without details is stored in every format", () => {
    expect(detailFaultOf(DETAILS, 3)).toBeUndefined();
    expect(detailFaultOf({ attributes: sized(4_096) }, 3)).toBeUndefined();
    for (const format of [1, 2, 3]) expect(detailFaultOf({ attributes: {} }, format)).toBeUndefined();
  });

  it("do not include what an attribute is called", () => {
    const attributes = JSON.parse('{"constructor":"x","valueof":1}');
    expect(detailsOf({ attributes })).toEqual({ attributes });
    expect(detailFaultOf({ attributes }, 3)).toBeUndefined();
  });
});

/** Attributes of so many bytes as JSON, in characters of three bytes each but the last ones. */
function sized(bytes: number): Record<string, string> {
  const attributes: Record<string, string> = {};
  const left = () => bytes - Buffer.byteLength(JSON.stringify(attributes));
  for (let i = 0; left() > 700; i++) attributes[`name-${i}`] = "茶".repeat(200);
  attributes["last"] = "";
  attributes["last"] = "x".repeat(left());
  return attributes;
}
