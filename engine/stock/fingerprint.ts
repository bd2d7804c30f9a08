/**
 * A 53-bit fingerprint of a command's body, which shows whether a repeated command is the same one (R3). It covers
 * all but the id, the attempt and the actor, so that the same request under another token is a repeat. Fingerprints are
 * compared under one id only: two different bodies are taken for the same with a probability of 1 in 9 × 10^15. It
 * detects mistakes of clients; it is no defence against deliberate collisions.
 */
import { CELL_SEPARATOR, type SkuSettings, type StockCommand } from "./model.js";

export function fingerprintOf(command: StockCommand): number {
  begin();
  addCommand(command);
  return end();
}

/** The fingerprint of several commands in their order: an order's lines. */
export const fingerprintOfAll = (commands: readonly StockCommand[]): number =>
  hash53(commands.map(fingerprintOf).join(" "));

export function hash53(text: string): number {
  begin();
  add(text);
  return end();
}

function addCommand(command: StockCommand): void {
  const { kind, sku, location, atMs, onBehalfOf, reason } = command;
  add(kind);
  add(CELL_SEPARATOR);
  add(sku);
  add(CELL_SEPARATOR);
  add(location);
  add(CELL_SEPARATOR);
  switch (kind) {
    case "reserve":
      addAll(command.units, command.pool ?? "", command.holdMs ?? "");
      break;
    case "move":
      addAll(command.units, command.from, command.to, measured(command.toLocation ?? ""));
      break;
    case "configure":
      addAll(settingsText(command.settings), measured(command.category ?? ""), settingsText(command.categorySettings));
      break;
    case "acknowledge":
      add(measured(command.alertId));
      break;
    case "correct":
      addAll(command.units, command.pool ?? "");
      if (command.expected !== undefined) add(`\nif on hand ${command.expected.onHandUnits}`);
      if (command.settlement !== undefined) add(`\nsettles ${measured(command.settlement.proposal)}`);
      break;
    default:
      addAll(command.units, command.pool ?? "");
  }
  if (atMs !== undefined) add(`\nat ${atMs}`);
  // `by`: for compatibility with stored fingerprints.
  if (onBehalfOf !== undefined) add(`\nby ${measured(onBehalfOf)}`);
  if (reason !== undefined) add(`\nfor ${measured(reason)}`);
}

/** Settings that every stored fingerprint covers, set or not, in this order: stored data. */
const FIRST_SETTINGS = ["displayCoefficient", "alertFactor", "alertFloorUnits"];

/** The first settings, then the others that are set, in the order of their names. */
function settingsText(settings: SkuSettings = {}): string {
  let text = FIRST_SETTINGS.map((name) => String(settings[name])).join(" ");
  const others = Object.keys(settings).filter((name) => settings[name] !== undefined && !FIRST_SETTINGS.includes(name));
  for (const name of others.sort()) text += ` ${measured(name)} ${settings[name]}`;
  return text;
}

/** Free text after its length, so that no text can look like the end of one field and the start of the next. */
const measured = (text: string): string => `${text.length} ${text}`;

/**
 * The state of the hash: two 32-bit multiplicative lanes, mixed at the end (cyrb53, public domain), joined to 53 bits.
 * Texts that are added one after the other give the same hash as their concatenation, without building it.
 */
let high = 0;
let low = 0;

function begin(): void {
  high = 0xdeadbeef;
  low = 0x41c6ce57;
}

function add(text: string): void {
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

/** Adds fields with a space between them. */
function addAll(...fields: (string | number)[]): void {
  for (let i = 0; i < fields.length; i++) {
    if (i > 0) add(" ");
    add(String(fields[i]));
  }
}

function end(): number {
  const one = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  const other = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(one ^ (one >>> 13), 3266489909);
  return 4294967296 * (2097151 & other) + (one >>> 0);
}
