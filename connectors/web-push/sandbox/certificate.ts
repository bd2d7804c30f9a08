/**
 * A self-signed certificate for loopback, made when a sandbox starts: Node can make keys and signatures but no
 * certificates, so this writes the few DER structures of X.509 (RFC 5280) itself. Clients must be given it as a
 * certificate authority. For sandboxes and tests only.
 */
import { generateKeyPairSync, sign } from "node:crypto";
import { DAY_MS } from "../../../engine/kernel/clock.js";
import { secureBytes } from "../../../engine/kernel/random.js";

export interface Certificate {
  /** PEM, both. */
  readonly key: string;
  readonly cert: string;
}

const VALID_DAYS = 30;
/** ecdsa-with-SHA256, commonName, subjectAltName, basicConstraints: the bytes of their object identifiers. */
const ECDSA_SHA256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const COMMON_NAME = [0x55, 0x04, 0x03];
const ALTERNATIVE_NAMES = [0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS = [0x55, 0x1d, 0x13];
const TRUE = Buffer.from([0x01, 0x01, 0xff]);

const TAG = { integer: 0x02, bits: 0x03, octets: 0x04, oid: 0x06, utf8: 0x0c, utcTime: 0x17, list: 0x30, set: 0x31 };
/** Of the certificate's fields, and of a subject's alternative names. */
const CONTEXT = { version: 0xa0, extensions: 0xa3, dnsName: 0x82, address: 0x87 };

/** One DER value: tag, length, content. */
function der(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const { length } = body;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

const oid = (bytes: readonly number[]): Buffer => der(TAG.oid, Buffer.from(bytes));
const bits = (bytes: Uint8Array): Buffer => der(TAG.bits, Buffer.from([0]), bytes);
/** YYMMDDhhmmssZ. */
const utcTime = (ms: number): Buffer =>
  der(TAG.utcTime, Buffer.from(`${new Date(ms).toISOString().slice(2, 19).replace(/\D/g, "")}Z`));

function extensions(names: readonly string[]): Buffer {
  const alternatives = names.map((name) =>
    /^[\d.]+$/.test(name)
      ? der(CONTEXT.address, Buffer.from(name.split(".").map(Number)))
      : der(CONTEXT.dnsName, Buffer.from(name)),
  );
  return der(
    CONTEXT.extensions,
    der(
      TAG.list,
      der(TAG.list, oid(ALTERNATIVE_NAMES), der(TAG.octets, der(TAG.list, ...alternatives))),
      der(TAG.list, oid(BASIC_CONSTRAINTS), TRUE, der(TAG.octets, der(TAG.list, TRUE))),
    ),
  );
}

/** @param names DNS names and IPv4 addresses for which it is valid, from a day before `nowMs` */
export function selfSigned(names: readonly string[], nowMs: number): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = der(TAG.list, oid(ECDSA_SHA256));
  const name = der(TAG.list, der(TAG.set, der(TAG.list, oid(COMMON_NAME), der(TAG.utf8, Buffer.from("sandbox")))));
  const serial = Buffer.concat([Buffer.from([1]), secureBytes(8)]);
  const content = der(
    TAG.list,
    der(CONTEXT.version, der(TAG.integer, Buffer.from([2]))),
    der(TAG.integer, serial),
    algorithm,
    name,
    der(TAG.list, utcTime(nowMs - DAY_MS), utcTime(nowMs + VALID_DAYS * DAY_MS)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    extensions(names),
  );
  const whole = der(TAG.list, content, algorithm, bits(sign("sha256", content, privateKey)));
  const lines = whole.toString("base64").match(/.{1,64}/g) ?? [];
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`,
  };
}
