/**
 * How WeCom encrypts and signs what it sends to a callback address. The signature is the SHA-1 of token, timestamp,
 * nonce and encrypted text, sorted. The text is AES-256-CBC over 16 random bytes, the length, the message and the
 * receiver's id, padded to 32 bytes; the initial vector is the key's first half. A text that is not for this receiver
 * is refused. Pure but for the random bytes of `encrypt`, which the sandbox uses.
 */
import { createCipheriv, createDecipheriv, createHash, timingSafeEqual } from "node:crypto";
import { badInput } from "../../engine/kernel/errors.js";

const OP = "wecom.callback";
const BLOCK = 32;
const RANDOM_BYTES = 16;
const LENGTH_BYTES = 4;
const KEY_CHARACTERS = 43;

export interface CallbackSecrets {
  /** The token of the callback, as entered in WeCom's console. */
  readonly token: string;
  /** EncodingAESKey: 43 characters of base64. */
  readonly aesKey: string;
  /** Of an application: the corp id. */
  readonly receiverId: string;
}

/** @throws EngineError `bad_input` when it is not 43 characters of base64 */
export function keyOf(aesKey: string): Buffer {
  const key = Buffer.from(`${aesKey}=`, "base64");
  if (aesKey.length !== KEY_CHARACTERS || key.length !== 32)
    throw badInput(OP, "aesKey", `an EncodingAESKey has ${KEY_CHARACTERS} characters of base64`);
  return key;
}

export const signatureOf = (token: string, timestamp: string, nonce: string, encrypted: string): string =>
  createHash("sha1").update([token, timestamp, nonce, encrypted].sort().join("")).digest("hex");

/** Compares without revealing by its duration where they differ. */
export function isSignature(given: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(wanted)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** The message of an encrypted text; undefined when it cannot be read, or is for another receiver. */
export function decrypt(encrypted: string, { aesKey, receiverId }: CallbackSecrets): string | undefined {
  const key = keyOf(aesKey);
  const bytes = Buffer.from(encrypted, "base64");
  if (bytes.length === 0 || bytes.length % BLOCK !== 0) return undefined;
  const decipher = createDecipheriv("aes-256-cbc", key, key.subarray(0, 16));
  decipher.setAutoPadding(false);
  const plain = Buffer.concat([decipher.update(bytes), decipher.final()]);
  const padding = plain.at(-1) as number;
  if (padding < 1 || padding > BLOCK) return undefined;
  const content = plain.subarray(RANDOM_BYTES, plain.length - padding);
  if (content.length < LENGTH_BYTES) return undefined;
  const end = LENGTH_BYTES + content.readUInt32BE(0);
  if (end > content.length || content.subarray(end).toString("utf8") !== receiverId) return undefined;
  return content.subarray(LENGTH_BYTES, end).toString("utf8");
}

/** @param random 16 bytes */
export function encrypt(message: string, { aesKey, receiverId }: CallbackSecrets, random: Buffer): string {
  const key = keyOf(aesKey);
  const text = Buffer.from(message);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(text.length);
  const content = Buffer.concat([random, length, text, Buffer.from(receiverId)]);
  const padding = BLOCK - (content.length % BLOCK);
  const cipher = createCipheriv("aes-256-cbc", key, key.subarray(0, 16));
  cipher.setAutoPadding(false);
  return Buffer.concat([
    cipher.update(content),
    cipher.update(Buffer.alloc(padding, padding)),
    cipher.final(),
  ]).toString("base64");
}
