/**
 * The signatures of chat robots against the documented formulas, computed here another way: DingTalk signs a text with
 * the secret, Feishu signs nothing with the text as key.
 */
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { signatureOf as dingTalkSignature } from "../../../connectors/dingtalk/signature.js";
import { signatureOf as feishuSignature } from "../../../connectors/feishu/signature.js";

const BLOCK = 64;

/** HMAC-SHA256 by its definition (RFC 2104). */
function hmac(key: string, text: string): string {
  const bytes = Buffer.from(key);
  const padded = Buffer.alloc(BLOCK);
  (bytes.length > BLOCK ? createHash("sha256").update(bytes).digest() : bytes).copy(padded);
  const mix = (value: number) => Buffer.from(padded.map((byte) => byte ^ value));
  const inner = createHash("sha256").update(mix(0x36)).update(text).digest();
  return createHash("sha256").update(mix(0x5c)).update(inner).digest("base64");
}

const SECRET = `SEC${"0123456789abcdef".repeat(4)}`;

it("signs DingTalk's timestamp and secret with the secret", () => {
  expect(dingTalkSignature(1_700_000_000_000, SECRET)).toBe(hmac(SECRET, `1700000000000\n${SECRET}`));
});

it("signs nothing with Feishu's timestamp and secret", () => {
  expect(feishuSignature(1_700_000_000, "demo")).toBe(hmac("1700000000\ndemo", ""));
});
