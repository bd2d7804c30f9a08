/**
 * WeCom's callbacks: what was encrypted is read back, and whatever was altered, or is for another receiver, is refused.
 */
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import {
  type CallbackSecrets,
  decrypt,
  encrypt,
  isSignature,
  keyOf,
  signatureOf,
} from "../../../connectors/wecom/callback-crypto.js";

const SECRETS: CallbackSecrets = {
  token: "token",
  aesKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
  receiverId: "ww1",
};
const RANDOM = Buffer.from("0123456789abcdef");

it("reads what it has encrypted, of every length", () => {
  for (let length = 0; length < 100; length++) {
    const text = "库".repeat(length);
    expect(decrypt(encrypt(text, SECRETS, RANDOM), SECRETS)).toBe(text);
  }
});

it("signs the sorted parts", () => {
  const wanted = createHash("sha1").update("1700000000abcnoncetoken").digest("hex");
  expect(signatureOf("token", "1700000000", "nonce", "abc")).toBe(wanted);
  expect(isSignature(wanted, wanted)).toBe(true);
  expect(isSignature(wanted.replace(/.$/, "x"), wanted)).toBe(false);
  expect(isSignature("", wanted)).toBe(false);
});

it("refuses what is for another receiver, altered, cut or no base64", () => {
  const encrypted = encrypt("<xml/>", SECRETS, RANDOM);
  expect(decrypt(encrypted, { ...SECRETS, receiverId: "ww2" })).toBeUndefined();
  const bytes = Buffer.from(encrypted, "base64");
  for (let at = 0; at < bytes.length; at++) {
    const altered = Buffer.from(bytes);
    altered[at] = (altered[at] as number) ^ 0x55;
    const text = decrypt(altered.toString("base64"), SECRETS);
    // The random bytes at the beginning carry nothing.
    expect(text === undefined || text.length <= 6).toBe(true);
  }
  for (const bad of ["", "A", encrypted.slice(0, 20), "%%%%", Buffer.alloc(32).toString("base64")])
    expect(decrypt(bad, SECRETS)).toBeUndefined();
});

it("refuses a key of another length", () => {
  expect(() => keyOf("short")).toThrow(/43 characters/);
});
