/**
 * The details of an order (OrderDetails): which are set, what they add to its fingerprint, and whether they may be
 * stored. An order without details has the same record, event and fingerprint as before there were any. The shape of
 * each value is checked where it enters the engine; nothing here reads or writes Redis.
 */
import { MAX_ATTRIBUTES_BYTES, type OrderDetails } from "./model.js";

/**
 * From this format on, orders may have details. A process of the previous release reads a record that has them, but
 * refuses the same request: a client that repeats it there would take an accepted order for a refused one.
 */
const WITH_DETAILS = 3;

/** A reason why an order cannot be stored as it is. */
export interface DetailFault {
  field: keyof OrderDetails;
  message: string;
}

/** The details that are set, in one order; undefined when there are none. No attributes are the same as none set. */
export function detailsOf(order: OrderDetails): OrderDetails | undefined {
  const { amount, currency, paymentKind, buyer, attributes } = order;
  const details: OrderDetails = {};
  if (amount !== undefined) details.amount = amount;
  if (currency !== undefined) details.currency = currency;
  if (paymentKind !== undefined) details.paymentKind = paymentKind;
  if (buyer !== undefined) details.buyer = buyer;
  if (attributes !== undefined && Object.keys(attributes).length > 0) details.attributes = attributes;
  return Object.keys(details).length === 0 ? undefined : details;
}

/** The details as one text for the fingerprint: the same for attributes in another order. */
export function detailsText(details: OrderDetails): string {
  const { attributes, ...others } = details;
  return JSON.stringify([Object.entries(others), Object.entries(attributes ?? {}).sort(byName)]);
}

/** @param format the deployment's */
export function detailFaultOf(order: OrderDetails, format: number): DetailFault | undefined {
  const details = detailsOf(order);
  if (details === undefined) return undefined;
  if (format < WITH_DETAILS) {
    const [field] = Object.keys(details) as [keyof OrderDetails];
    return { field, message: `is stored from format ${WITH_DETAILS} on: run "shuiwei upgrade --finish" first` };
  }
  const { amount, currency, attributes } = details;
  if (amount !== undefined && currency === undefined)
    return { field: "currency", message: "is missing: an amount needs its currency" };
  if (currency !== undefined && amount === undefined)
    return { field: "amount", message: "is missing: a currency belongs to an amount" };
  if (attributes !== undefined && Buffer.byteLength(JSON.stringify(attributes)) > MAX_ATTRIBUTES_BYTES)
    return { field: "attributes", message: `must be at most ${MAX_ATTRIBUTES_BYTES} bytes as JSON` };
  return undefined;
}

const byName = ([one]: [string, unknown], [other]: [string, unknown]): number =>
  one < other ? -1 : one > other ? 1 : 0;
