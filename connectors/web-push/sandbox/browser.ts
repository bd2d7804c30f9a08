/**
 * The browser's side of Web Push, for the sandbox: the key pair of a subscription, and the decryption of a message by
 * RFC 8291 and RFC 8188 with nothing but `node:crypto`. It shares no code with the library that encrypts, so a message
 * that it reads is one that a browser can read. One record only, as push messages have.
 */
import { createDecipheriv, createECDH, type ECDH, hkdfSync } from "node:crypto";
import { assert } from "../../../engine/kernel/errors.js";
import { secureBytes } from "../../../engine/kernel/random.js";
import type { PushSubscription } from "../subscription.js";

const CURVE = "prime256v1";
const SALT_BYTES = 16;
/** Salt, record size and the length of the sender's key. */
const HEADER_BYTES = SALT_BYTES + 4 + 1;
const TAG_BYTES = 16;
const LAST_RECORD = 2;

export class SandboxBrowser {
  readonly #pair: ECDH = createECDH(CURVE);
  readonly #auth = Buffer.from(secureBytes(16));

  constructor() {
    this.#pair.generateKeys();
  }

  get keys(): PushSubscription["keys"] {
    return { p256dh: this.#pair.getPublicKey("base64url"), auth: this.#auth.toString("base64url") };
  }

  /**
   * The text of a message.
   * @throws Error when it cannot be decrypted
   */
  decrypt(body: Buffer): string {
    const keyLength = body[HEADER_BYTES - 1] ?? 0;
    assert(body.length > HEADER_BYTES + keyLength + TAG_BYTES, "the message is too short");
    const recordSize = body.readUInt32BE(SALT_BYTES);
    const salt = body.subarray(0, SALT_BYTES);
    const senderKey = body.subarray(HEADER_BYTES, HEADER_BYTES + keyLength);
    const record = body.subarray(HEADER_BYTES + keyLength);
    assert(record.length <= recordSize, "the message has more than one record");
    const own = this.#pair.getPublicKey();
    const secret = this.#pair.computeSecret(senderKey);
    const info = Buffer.concat([Buffer.from("WebPush: info\0"), own, senderKey]);
    const ikm = Buffer.from(hkdfSync("sha256", secret, this.#auth, info, 32));
    const key = Buffer.from(hkdfSync("sha256", ikm, salt, "Content-Encoding: aes128gcm\0", 16));
    const nonce = Buffer.from(hkdfSync("sha256", ikm, salt, "Content-Encoding: nonce\0", 12));
    const decipher = createDecipheriv("aes-128-gcm", key, nonce);
    decipher.setAuthTag(record.subarray(-TAG_BYTES));
    const padded = Buffer.concat([decipher.update(record.subarray(0, -TAG_BYTES)), decipher.final()]);
    const end = padded.findLastIndex((byte) => byte !== 0);
    assert(padded[end] === LAST_RECORD, "the message has no end");
    return padded.subarray(0, end).toString("utf8");
  }
}
