/** What robots and applications of WeCom share: the address, and the codes of its refusals that may pass. */
import type { CodeMeaning } from "../channels/answer-code.js";

export const ADDRESS = "https://qyapi.weixin.qq.com";

/** Limits are per minute. */
export const THROTTLED_MS = 60_000;

/** All others are for good. 45009: too many calls; 45033: too many at once; -1 and 6000: busy. */
export const CODES: Readonly<Record<number, CodeMeaning>> = {
  "-1": "later",
  6000: "later",
  45009: "throttled",
  45033: "throttled",
};

export const JSON_BODY = { "content-type": "application/json; charset=utf-8" } as const;
