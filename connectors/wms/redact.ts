/**
 * What the WMS says to an order may quote it. Its words are kept with the dead letter, so the buyer's are taken out
 * of them first: every value of the order that says something about the buyer, whole or cut short at its end. Words
 * that the WMS has changed are not found.
 */
import type { ShipTo } from "../../engine/orders/model.js";
import type { WmsInboundOrder } from "./payload.js";

const HIDDEN = "***";
/** A shorter beginning of a value would be found in words that are none of the buyer's. */
const SHORTEST_BEGINNING = 4;
/** One character is no name that could be found again. */
const SHORTEST_VALUE = 2;

/** A refusal without the buyer's words. */
export function withoutBuyer(text: string, shipTo: ShipTo | undefined, body: WmsInboundOrder): string {
  const given = [...Object.values(shipTo ?? {}), ...Object.values(body.receiver ?? {}), body.address?.houseNumber];
  const values = [...new Set(given.flatMap(formsOf))];
  let left = "";
  for (let at = 0; at < text.length; ) {
    const found = Math.max(0, ...values.map((value) => lengthOf(value, text, at)));
    left += found > 0 ? HIDDEN : text.charAt(at);
    at += Math.max(1, found);
  }
  return left;
}

/** As it is written, and as JSON writes it. */
const formsOf = (value: unknown): string[] =>
  typeof value === "string" && value.trim().length >= SHORTEST_VALUE
    ? [value.trim(), JSON.stringify(value.trim()).slice(1, -1)]
    : [];

/** How much of a value stands at a place of a text; 0 when it is too little to be told from other words. */
function lengthOf(value: string, text: string, at: number): number {
  let length = 0;
  while (length < value.length && text[at + length] === value[length]) length++;
  return length >= Math.min(value.length, SHORTEST_BEGINNING) ? length : 0;
}
