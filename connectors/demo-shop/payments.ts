/**
 * Made-up payments for the demo shop's orders: an amount in fen from a price of each SKU, and a kind of payment, both
 * chosen by a hash, so that a retry has the same ones. Prices are whole yuan and do not change.
 */
import type { OrderDetails } from "../../engine/orders/model.js";
import type { OrderLine } from "./actions.js";
import { hashOf } from "./recipients.js";

const CURRENCY = "CNY";
const FEN_A_YUAN = 100;
const LOWEST_YUAN = 19;
const PRICES = 381;
/** Of ten orders. */
const KINDS = [...Array<string>(5).fill("alipay"), ...Array<string>(4).fill("wechat-pay"), "card"];

/** What the buyer pays for an order, and how; the same for every call with the same order. */
export function paymentOf(order: string, lines: readonly OrderLine[]): OrderDetails {
  const yuan = lines.reduce((sum, { sku, units }) => sum + units * (LOWEST_YUAN + (hashOf(sku) % PRICES)), 0);
  const paymentKind = KINDS[hashOf(order) % KINDS.length] as string;
  return { amount: yuan * FEN_A_YUAN, currency: CURRENCY, paymentKind };
}
