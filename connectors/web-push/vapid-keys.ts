/**
 * The key pair with which this deployment identifies itself to push services (RFC 8292). It is made on first use and
 * kept in Redis; two processes that start together use the same one. It is never replaced by the program: a browser's
 * subscription is bound to the public key, so another pair would end every subscription. The private key is in no log,
 * error or answer; a backup of Redis has it.
 */
import { createECDH } from "node:crypto";
import type { Clock } from "../../engine/kernel/clock.js";
import { assert, EngineError } from "../../engine/kernel/errors.js";
import { vapidKeysKey } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";

export interface VapidKeys {
  /** Base64url of the uncompressed point, 65 bytes: the browser's `applicationServerKey`. */
  readonly publicKey: string;
  /** Base64url of 32 bytes. A secret. */
  readonly privateKey: string;
  readonly createdMs: number;
}

const CURVE = "prime256v1";
const PRIVATE_BYTES = 32;
/** Base64url of a pair's parts, as it is stored. */
const PUBLIC_KEY = /^[A-Za-z0-9_-]{87}$/;
const PRIVATE_KEY = /^[A-Za-z0-9_-]{43}$/;

function newKeys(createdMs: number): VapidKeys {
  const pair = createECDH(CURVE);
  const publicKey = pair.generateKeys().toString("base64url");
  // Node leaves out leading zeros.
  const secret = pair.getPrivateKey();
  const padded = Buffer.concat([Buffer.alloc(PRIVATE_BYTES - secret.length), secret]);
  return { publicKey, privateKey: padded.toString("base64url"), createdMs };
}

/**
 * The pair of a deployment; made when there is none.
 * @throws EngineError `vapid_keys_unreadable` when what Redis has is no pair: it is not overwritten
 */
export async function loadVapidKeys(redis: RedisClient, prefix: string, clock: Clock): Promise<VapidKeys> {
  const key = vapidKeysKey(prefix);
  const stored = await redis.get(key);
  if (stored !== null) return read(stored);
  await redis.set(key, JSON.stringify(newKeys(clock.now())), "NX");
  // Another process may have been first.
  const kept = await redis.get(key);
  assert(kept !== null, "the VAPID keys vanished while they were made");
  return read(kept);
}

function read(text: string): VapidKeys {
  try {
    const { publicKey, privateKey, createdMs } = JSON.parse(text) as Record<string, unknown>;
    const pair = createECDH(CURVE);
    assert(typeof privateKey === "string" && PRIVATE_KEY.test(privateKey), "no private key");
    pair.setPrivateKey(Buffer.from(privateKey, "base64url"));
    assert(typeof publicKey === "string" && PUBLIC_KEY.test(publicKey), "no public key");
    assert(pair.getPublicKey("base64url") === publicKey, "the keys are no pair");
    assert(typeof createdMs === "number", "no time");
    return { publicKey, privateKey, createdMs };
  } catch {
    // Without the cause: its message may quote the text.
    throw new EngineError("the VAPID keys in Redis cannot be read; restore them from a backup", {
      op: "webPush.keys",
      code: "vapid_keys_unreadable",
      retryable: false,
    });
  }
}
