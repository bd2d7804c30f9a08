/**
 * What purgers share for their requests: an HTTP client with a short time limit, checks of a vendor's address and
 * token, and what an HTTP status means for a purge. It is the client of channels: no redirect, bounded answers, and no
 * reason with the path or query of an address. A purge that takes longer than its limit is of little use, and repeats
 * do no harm.
 */
import { badInput } from "../../engine/kernel/errors.js";
import type { ChannelOutcome } from "../channel.js";
import { ChannelHttp, type HttpAnswer, urlFault } from "../channels/http-client.js";
import type { PurgeOutcome } from "../purger.js";

/** A copy ends by itself a few seconds after this. */
const TIMEOUT_MS = 5_000;
/** Requests of one process under way to one vendor. */
export const CONNECTIONS = 4;

/** @param timeoutMs left out: 5 s */
export const purgeHttp = (timeoutMs = TIMEOUT_MS): ChannelHttp =>
  new ChannelHttp({ reach: "any", connections: CONNECTIONS, timeoutMs });

/**
 * The address of a vendor's API, without a slash at its end.
 * @throws EngineError `bad_input` when it is no address, or reaches another machine without TLS
 */
export function apiUrlOf(vendor: string, url: string): string {
  const fault = urlFault(url);
  if (fault !== undefined) throw badInput(`${vendor}.open`, "/connection/url", fault);
  return url.replace(/\/+$/, "");
}

/** The same outcome, as of a purge. */
export function purgeOutcomeOf(outcome: ChannelOutcome): PurgeOutcome {
  if (outcome.outcome === "accepted") return { outcome: "purged" };
  if (outcome.outcome === "refused") return { outcome: "refused", reason: outcome.reason };
  const { reason, retryAfterMs, throttled } = outcome;
  return {
    ...{ outcome: "retry", reason },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(throttled === undefined ? {} : { throttled }),
  };
}

/**
 * A token that a header can contain: any other would be refused with each purge.
 * @throws EngineError `bad_input`, without the token
 */
export function headerToken(vendor: string, token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw badInput(`${vendor}.open`, "/connection/token", "has a character that a header cannot contain");
}

/** The JSON object of an answer; undefined when it is none. */
export function objectOf({ text, isCut }: HttpAnswer): Readonly<Record<string, unknown>> | undefined {
  if (isCut) return undefined;
  try {
    const json = JSON.parse(text) as Record<string, unknown> | null;
    return typeof json === "object" && json !== null && !Array.isArray(json) ? json : undefined;
  } catch {
    return undefined;
  }
}
