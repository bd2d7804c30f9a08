/**
 * The contract of a CDN whose copies of a SKU's stock can be deleted (purged), so that a SKU that is sold out or back
 * in stock is seen at once. A purge only shortens the wait: every copy ends by itself within R6's 15 seconds. So a
 * purge that a limit of the CDN does not allow in time is dropped and counted. Connectors translate to one vendor's
 * request; limits, batches, repetition and what is dropped are decided for all in connectors/purges.
 */
import type { Static, TSchema } from "typebox";
import type { Clock } from "../engine/kernel/clock.js";

/** What a CDN's copies of one SKU's answers are found by. */
export interface PurgeTarget {
  readonly sku: string;
  /** The value of `Cache-Tag` and `Surrogate-Key` of every answer with this SKU. */
  readonly tag: string;
  /** The absolute address of the answer with this SKU alone. */
  readonly url: string;
}

/**
 * Of one request. `retry`: the same may be accepted later. `refused`: an operator must change something first. A
 * reason has the vendor's whole text: who shows it removes secrets before it is cut, for a part is not recognised.
 */
export type PurgeOutcome =
  | { readonly outcome: "purged" }
  | { readonly outcome: "retry"; readonly reason: string; readonly retryAfterMs?: number; readonly throttled?: boolean }
  | { readonly outcome: "refused"; readonly reason: string };

/** What a vendor accepts. */
export interface PurgeLimits {
  /** SKUs of one request. */
  readonly batch: number;
  /** Requests in any second; below 1 for fewer, such as 5 / 60. */
  readonly perSecond: number;
  /** Requests that the vendor takes at once after a pause (its token bucket); left out: it has none. */
  readonly burst?: number;
  /** SKUs in a day; left out: no limit. */
  readonly perDay?: number;
}

export interface Purger {
  readonly limits: PurgeLimits;
  /** Sends one request. Settles within finite time; repeats do no harm. */
  purge(targets: readonly PurgeTarget[], signal: AbortSignal): Promise<PurgeOutcome>;
  close?(): unknown;
}

export interface PurgerParts<Settings = unknown> {
  /** As the configuration file has it, with the texts of secrets. */
  readonly connection: Settings;
  /** The wall clock: signatures have a time. */
  readonly clock: Clock;
  /** How long one request may take; left out: as in connectors/purges/http.ts. */
  readonly timeoutMs?: number;
}

export interface PurgerKind<Settings extends TSchema = TSchema> {
  /** The vendor, as the configuration file names it. */
  readonly name: string;
  /** The shape of its connection in the file; secrets are `SecretText` of connectors/configuration. */
  readonly connection: Settings;
  /**
   * A shield between edge and engine may answer the edge with its own old copy: every purge is repeated after this
   * time. Left out: once is enough.
   */
  readonly repeatAfterMs?: number;
  /** @throws EngineError `bad_input` for what the shape cannot check */
  open(parts: PurgerParts<Static<Settings>>): Purger | Promise<Purger>;
}

/** Infers the type of the connection. */
export const definePurgerKind = <const Settings extends TSchema>(kind: PurgerKind<Settings>): PurgerKind =>
  kind as unknown as PurgerKind;
