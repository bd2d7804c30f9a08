/**
 * Chain ids (R4): one id for the life of an order. 2 characters of channel code, 9 of time, 8 of random salt and
 * a check character, all from [0-9A-Z]; ids of one channel sort by time as text. The time is milliseconds since the
 * epoch in base 32 (enough until the year 3084). The check character is ISO/IEC 7064 MOD 37,36: it detects every
 * single wrong character, and 629 of 630 swaps of two neighbours (not some of 0 with Z, or of two characters that are
 * neighbours in the alphabet). An order's lines are `<id>-<line number>`.
 */
import { createHash } from "node:crypto";
import { DAY_MS } from "./clock.js";
import { secureBytes } from "./random.js";

const BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; // Crockford's: no I, L, O, U
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const CHANNEL_LENGTH = 2;
const TIME_LENGTH = 9;
const SALT_LENGTH = 8;
export const CHAIN_ID_LENGTH = CHANNEL_LENGTH + TIME_LENGTH + SALT_LENGTH + 1;

/** A chain id, optionally followed by `-` and a number from 1 to 9999: an order line or a part of a delivery. */
export const COMMAND_ID_PATTERN = "^[0-9A-Z]{2}[0-9A-HJKMNP-TV-Z]{9}[0-9A-HJKMNP-TV-Z]{8}[0-9A-Z](-[1-9][0-9]{0,3})?$";
export const CHAIN_ID_PATTERN = "^[0-9A-Z]{2}[0-9A-HJKMNP-TV-Z]{9}[0-9A-HJKMNP-TV-Z]{8}[0-9A-Z]$";
const commandId = new RegExp(COMMAND_ID_PATTERN);
const channelCode = /^[0-9A-Z]{2}$/;

const digitOf = new Int8Array(128).fill(-1);
for (let i = 0; i < BASE32.length; i++) digitOf[BASE32.charCodeAt(i)] = i;
const checkValueOf = new Int8Array(128).fill(-1);
for (let i = 0; i < ALPHABET.length; i++) checkValueOf[ALPHABET.charCodeAt(i)] = i;

function base32(value: number, length: number): string {
  let text = "";
  for (let rest = value, i = 0; i < length; i++) {
    text = BASE32.charAt(rest % 32) + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}

function saltOf(bytes: Uint8Array): string {
  let salt = "";
  for (let i = 0; i < SALT_LENGTH; i++) salt += BASE32.charAt((bytes[i] as number) & 31);
  return salt;
}

function checkCharacter(body: string): string {
  let check = 36;
  for (let i = 0; i < body.length; i++) {
    check += checkValueOf[body.charCodeAt(i)] as number;
    if (check > 36) check -= 36;
    check *= 2;
    if (check >= 37) check -= 37;
  }
  return ALPHABET.charAt((37 - check) % 36);
}

/**
 * Makes a chain id.
 * @param channel 2 characters from [0-9A-Z]
 * @param timeMs when the order was placed
 * @param reference the order's id at its source; the same channel, time and reference always make the same id, so
 *   that repeats are recognised. Without it the salt is random.
 */
export function chainId(channel: string, timeMs: number, reference?: string): string {
  if (!channelCode.test(channel)) throw new RangeError(`channel code "${channel}" is not 2 characters of 0-9 A-Z`);
  const salt = saltOf(
    reference === undefined ? secureBytes(SALT_LENGTH) : createHash("sha256").update(reference).digest(),
  );
  const body = channel + base32(timeMs, TIME_LENGTH) + salt;
  return body + checkCharacter(body);
}

/** Salts of `chainIdFromNumber` are below this: 8 characters of 5 bits. */
export const CHAIN_ID_SALTS = 2 ** (5 * SALT_LENGTH);
/** Times of `chainIdFromNumber` are below this: 9 characters of 5 bits, in milliseconds since the epoch. */
export const CHAIN_ID_TIMES = 2 ** (5 * TIME_LENGTH);

/**
 * Makes a chain id whose salt is a number instead of a hash, for sources that number their rows: several times as fast.
 * Two numbers never make the same id. The salt is not random, so do not use it where an id must be unguessable.
 * @param channel 2 characters from [0-9A-Z]
 * @param timeMs when the order was placed; a whole number from 0 to CHAIN_ID_TIMES - 1
 * @param salt a whole number from 0 to CHAIN_ID_SALTS - 1
 */
export function chainIdFromNumber(channel: string, timeMs: number, salt: number): string {
  if (!channelCode.test(channel)) throw new RangeError(`channel code "${channel}" is not 2 characters of 0-9 A-Z`);
  if (!Number.isInteger(timeMs) || timeMs < 0 || timeMs >= CHAIN_ID_TIMES)
    throw new RangeError(`time ${timeMs} does not fit into a chain id`);
  if (!Number.isInteger(salt) || salt < 0 || salt >= CHAIN_ID_SALTS)
    throw new RangeError(`salt ${salt} does not fit into a chain id`);
  const body = channel + base32(timeMs, TIME_LENGTH) + base32(salt, SALT_LENGTH);
  return body + checkCharacter(body);
}

/** Why `id` is not a chain id (with or without a line number), or undefined when it is one. */
export function chainIdFault(id: string): string | undefined {
  if (!commandId.test(id)) return "is not a chain id (channel, time, salt, check character, then maybe -line)";
  const body = id.slice(0, CHAIN_ID_LENGTH - 1);
  return id.charAt(CHAIN_ID_LENGTH - 1) === checkCharacter(body) ? undefined : "has a wrong check character";
}

/** When the id was made, in milliseconds since the epoch. Expects a valid id. */
export function chainIdTimeMs(id: string): number {
  let timeMs = 0;
  for (let i = CHANNEL_LENGTH; i < CHANNEL_LENGTH + TIME_LENGTH; i++)
    timeMs = timeMs * 32 + (digitOf[id.charCodeAt(i)] as number);
  return timeMs;
}

/** The UTC day of the id, in whole days since the epoch: names the bucket in which the id is stored. */
export const chainIdDay = (id: string): number => Math.floor(chainIdTimeMs(id) / DAY_MS);
