/**
 * Removes the buyer's text from messages of the WMS, which may quote the order and are kept with the dead letter: every
 * value of the order that describes the buyer, whole or cut off at its end. Text that the WMS has changed is not found.
 */
import type { ShipTo } from "../../engine/orders/model.js";
import type { WmsInboundOrder } from "./payload.js";

const HIDDEN = "***";
/** A shorter prefix of a value would also occur in text that is not the buyer's. */
const SHORTEST_BEGINNING = 4;
/** A single character cannot be recognised. */
const SHORTEST_VALUE = 2;

/** A refusal without the buyer's text. */
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

/** How many characters of a value occur at a position of a text; 0 when they are too few to be the value. */
function lengthOf(value: string, text: string, at: number): number {
  let length = 0;
  while (length < value.length && text[at + length] === value[length]) length++;
  return length >= Math.min(value.length, SHORTEST_BEGINNING) ? length : 0;
}
