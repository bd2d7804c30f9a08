/**
 * A 53-bit fingerprint of a command's body, by which a resent command is known as the same one (R3): everything but
 * the id, the attempt and who sends it counts, so that the same request under another token is a repeat. It is
 * compared under one id only, so two different bodies pass as one with a chance of 1 in 9 × 10^15. It keeps honest
 * clients honest; it is no defence against somebody who looks for collisions.
 */
import { CELL_SEPARATOR, type SkuSettings, type StockCommand } from "./model.js";

export function fingerprintOf(command: StockCommand): number {
  begin();
  takeCommand(command);
  return end();
}

/** Of several commands in their order: an order's lines. */
export const fingerprintOfAll = (commands: readonly StockCommand[]): number =>
  hash53(commands.map(fingerprintOf).join(" "));

export function hash53(text: string): number {
  begin();
  take(text);
  return end();
}

function takeCommand(command: StockCommand): void {
  const { kind, sku, location, atMs, onBehalfOf, reason } = command;
  take(kind);
  take(CELL_SEPARATOR);
  take(sku);
  take(CELL_SEPARATOR);
  take(location);
  take(CELL_SEPARATOR);
  switch (kind) {
    case "reserve":
      takeAll(command.units, command.pool ?? "", command.holdMs ?? "");
      break;
    case "move":
      takeAll(command.units, command.from, command.to, measured(command.toLocation ?? ""));
      break;
    case "configure":
      takeAll(settingsText(command.settings), measured(command.category ?? ""), settingsText(command.categorySettings));
      break;
    case "acknowledge":
      take(measured(command.alertId));
      break;
    default:
      takeAll(command.units, command.pool ?? "");
  }
  if (atMs !== undefined) take(`\nat ${atMs}`);
  // As a body's `actor` has always counted.
  if (onBehalfOf !== undefined) take(`\nby ${measured(onBehalfOf)}`);
  if (reason !== undefined) take(`\nfor ${measured(reason)}`);
}

const settingsText = (settings: SkuSettings | undefined): string =>
  `${settings?.displayCoefficient} ${settings?.alertFactor} ${settings?.alertFloorUnits}`;

/** Free text with its length before it, so that no text can pose as the end of one field and the start of the next. */
const measured = (text: string): string => `${text.length} ${text}`;

/**
 * The hash under way: two 32-bit multiplicative lanes, mixed at the end (cyrb53, public domain), joined to 53 bits.
 * It takes a text in parts as it takes the whole, and nobody has to join them first.
 */
let high = 0;
let low = 0;

function begin(): void {
  high = 0xdeadbeef;
  low = 0x41c6ce57;
}

function take(text: string): void {
  let one = high;
  let other = low;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    one = Math.imul(one ^ unit, 2654435761);
    other = Math.imul(other ^ unit, 1597334677);
  }
  high = one;
  low = other;
}

/** Takes fields with a space between them. */
function takeAll(...fields: (string | number)[]): void {
  for (let i = 0; i < fields.length; i++) {
    if (i > 0) take(" ");
    take(String(fields[i]));
  }
}

function end(): number {
  const one = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  const other = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(one ^ (one >>> 13), 3266489909);
  return 4294967296 * (2097151 & other) + (one >>> 0);
}
