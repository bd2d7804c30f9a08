/**
 * A 53-bit fingerprint of a command's body, by which a resent command is known as the same one (R3): everything but the id
 * and the attempt counts. It is compared under one id only, so two different bodies pass as one with a chance of 1 in 9 × 10^15.
 * It keeps honest clients honest; it is no defence against somebody who looks for collisions.
 */
import { CELL_SEPARATOR, type SkuSettings, type StockCommand } from "./model.js";

export function fingerprintOf(command: StockCommand): number {
  const { kind, sku, location, atMs, actor, reason } = command;
  let text = kind + CELL_SEPARATOR + sku + CELL_SEPARATOR + location + CELL_SEPARATOR;
  switch (kind) {
    case "reserve":
      text += `${command.units} ${command.pool ?? ""} ${command.holdMs ?? ""}`;
      break;
    case "move":
      text += `${command.units} ${command.from} ${command.to} ${measured(command.toLocation ?? "")}`;
      break;
    case "configure":
      text += `${settingsText(command.settings)} ${measured(command.category ?? "")} ${settingsText(command.categorySettings)}`;
      break;
    case "acknowledge":
      text += measured(command.alertId);
      break;
    default:
      text += `${command.units} ${command.pool ?? ""}`;
  }
  if (atMs !== undefined) text += `\nat ${atMs}`;
  if (actor !== undefined) text += `\nby ${measured(actor)}`;
  if (reason !== undefined) text += `\nfor ${measured(reason)}`;
  return hash53(text);
}

const settingsText = (settings: SkuSettings | undefined): string =>
  `${settings?.displayCoefficient} ${settings?.alertFactor} ${settings?.alertFloorUnits}`;

/** Free text with its length before it, so that no text can pose as the end of one field and the start of the next. */
const measured = (text: string): string => `${text.length} ${text}`;

/** Of several commands in their order: an order's lines. */
export const fingerprintOfAll = (commands: readonly StockCommand[]): number =>
  hash53(commands.map(fingerprintOf).join(" "));

/** Two 32-bit multiplicative lanes, mixed at the end (cyrb53, public domain), joined to 53 bits. */
export function hash53(text: string): number {
  let high = 0xdeadbeef;
  let low = 0x41c6ce57;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    high = Math.imul(high ^ unit, 2654435761);
    low = Math.imul(low ^ unit, 1597334677);
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return 4294967296 * (2097151 & low) + (high >>> 0);
}
