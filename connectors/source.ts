/**
 * The contract of a kind of source (R29): an outside system whose stock is pulled, such as a WMS, a shop platform or a
 * folder of files. A kind describes its own part of the configuration, opens a source from it, and yields pages of rows
 * with the fields as the outside system names them. Mapping, units, schedule, rate, retries and storage are not its
 * part: the runner in `connectors/sources` does them for every kind. Every kind passes the suite in
 * `test/conformance/stock-source.ts`.
 */
import type { Static, TSchema } from "typebox";
import type { Scheduler } from "../engine/kernel/clock.js";
import type { Zone } from "../engine/kernel/zone.js";

/** What is asked of a source. */
export type PullRequest =
  /**
   * All cells; of a source of changes, the cells that changed since they were last asked for. `cursor` is that of the
   * newest page that was stored; undefined the first time.
   */
  | { readonly kind: "snapshot"; readonly cursor?: string }
  /** Movements booked in [fromMs, toMs) by the source's clock; the span is `movementSpanMs` of the kind at most. */
  | { readonly kind: "movements"; readonly fromMs: number; readonly toMs: number };

export type PullKind = PullRequest["kind"];

/** A row as the outside system gives it: texts of a CSV line, or a JSON object, which may be nested. */
export interface RawRow {
  readonly fields: Readonly<Record<string, unknown>>;
  /** Where it is, for faults: `page 3 row 12`, `stock.csv line 7`. */
  readonly place: string;
}

/**
 * Rows that came together, at most 5,000: so a page takes a few megabytes. What it states about the snapshot may be
 * on any page; two pages that state different things end the pull, for the source has changed while it was read.
 */
export interface SourcePage {
  readonly rows: readonly RawRow[];
  /** The snapshot's id at the source; without one the runner makes one from `asOfMs`. */
  readonly id?: string;
  /** The instant that the snapshot's rows describe, by the source's clock. Without it a mapped field must have it. */
  readonly asOfMs?: number;
  /** Rows in the whole snapshot, where the source states it: another number of rows makes it incomplete. */
  readonly totalRows?: number;
  /** Of a source of changes: where the next pull continues once this page is stored; at most 1,000 characters. */
  readonly cursor?: string;
  /** Another snapshot waits at the source: it is pulled at once. */
  readonly more?: boolean;
  /**
   * Informs the source that it need not give these rows again. Called once, only after everything on this page and the
   * pages before is stored; never after a failure, and never by a check or a dry run. Safe to repeat. May throw: the
   * rows then come again.
   */
  acknowledge?(signal: AbortSignal): Promise<void>;
  /** Called once instead, when the rows are refused for good, so that they do not come again. */
  refuse?(reason: string): Promise<void>;
}

/** An open source. One pull runs at a time. */
export interface Source {
  /**
   * Yields pages until everything has come; none when there is nothing new. A page that the source repeats is yielded
   * once. A source that gives the same rows until they are acknowledged stops after a page that was not. Ending the
   * iteration early stops all requests.
   * @throws EngineError: `retryable` when the same pull may succeed later; otherwise with the place in `input`
   */
  pull(request: PullRequest, signal: AbortSignal): AsyncIterable<SourcePage>;
  /** After the last pull. */
  close?(): unknown;
}

export interface SourceRequest {
  readonly method?: "GET" | "POST";
  /** Absolute, with its query. */
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Why an answer is no success, as the kind reads it from the body: many platforms answer 200 with an error code. */
export interface Refusal {
  /** A sentence with the source's own code; without secrets. */
  readonly reason: string;
  /** `throttled`: asked again after `retryAfterMs`, or after the back-off; `later`: the same; `final`: not again. */
  readonly again: "throttled" | "later" | "final";
  readonly retryAfterMs?: number;
}

/** An answer with status 2xx whose body has not been read yet. */
export interface SourceAnswer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * Sends the requests of one source. It keeps the configured rate in every second, limits the time and the bytes of an
 * answer, and repeats what may succeed later (no connection, 408, 425, 429, 5xx, a temporary refusal) as often as
 * configured, with back-off and `Retry-After`. `request` is a function because a repeated request needs a new
 * timestamp and signature.
 */
export interface SourceClient {
  /**
   * The whole answer as JSON; its size is limited.
   * @param refusalOf reads a refusal from the body of any answer; undefined: it is none
   * @throws EngineError when there is no success in the end
   */
  json(
    request: () => SourceRequest,
    signal: AbortSignal,
    refusalOf?: (body: unknown, status: number) => Refusal | undefined,
  ): Promise<unknown>;
  /**
   * The answer as a stream, for bodies larger than memory. Once it has begun it is not repeated; the next request ends
   * one that was not read to its end.
   */
  stream(request: () => SourceRequest, signal: AbortSignal): Promise<SourceAnswer>;
  /**
   * The source's clock minus the engine's, from the `Date` of the newest answer and half the time it took; exact to
   * a second. Undefined before the first answer, or without that header.
   */
  skewMs(): number | undefined;
}

/** What a source is opened with. */
export interface SourceParts {
  /** The source's name in the configuration. */
  readonly name: string;
  readonly client: SourceClient;
  readonly clock: Scheduler;
  /** Of times without a zone. */
  readonly zone: Zone;
  /** The folder of the configuration file: relative paths begin here. */
  readonly folder: string;
  /**
   * Reads a time in the source's `timeFormat`.
   * @throws EngineError `bad_input`
   */
  timeMs(value: unknown, place: string): number;
}

/** Which field of a raw row is what. A name, or a JSON pointer into nested objects when it begins with `/`. */
export interface FieldNames {
  readonly sku?: string;
  readonly location?: string;
  readonly units?: string;
  /** The name of the unit that `units` counts, such as `box`. */
  readonly unit?: string;
  /** Of a snapshot's row: its instant. Of a movement: when it was booked. */
  readonly time?: string;
  /** Of a movement: its id. */
  readonly id?: string;
  /** Of a source of changes: a number that grows with each change of a cell; a smaller one never replaces a greater. */
  readonly version?: string;
}

export interface SourceKind<Settings extends TSchema = TSchema> {
  /** Lower-case letters, digits and hyphens: `http`, `wangdian`. */
  readonly name: string;
  /** One line for people. */
  readonly about: string;
  /** Of the field `connection` of a source; secrets in it are `secretText` (configuration/). */
  readonly connection: Settings;
  readonly pulls: readonly PullKind[];
  /**
   * `whole`: a pull of a snapshot gives every cell. `changes`: it gives the cells that changed, with their units now;
   * the runner keeps the newest of each cell and makes whole snapshots from them.
   */
  readonly gives: "whole" | "changes";
  /** The longest span of one pull of movements; the runner asks for several. Left out: any. */
  readonly movementSpanMs?: number;
  /** Fields whose names the outside system fixes; the configuration may override each. */
  readonly fields?: { readonly snapshot?: FieldNames; readonly movements?: FieldNames };
  /** Fields that a snapshot's rows must have with these settings, beside those of every kind. */
  needs?(settings: Static<Settings>): readonly (keyof FieldNames)[];
  /**
   * How a time field is written; the configuration may override it. `iso`, `epoch-s`, `epoch-ms`, or a format such as
   * `yyyy-MM-dd HH:mm:ss`, which is taken in the shop's zone.
   */
  readonly timeFormat?: string;
  /** Requests a second when the configuration names no rate. */
  readonly perSecond: number;
  /**
   * Opens it; sends nothing yet.
   * @param settings `connection` after its check, with secrets as texts
   * @throws EngineError `bad_input` for what the schema cannot check, with a JSON pointer in `input`
   */
  open(settings: Static<Settings>, parts: SourceParts): Promise<Source>;
}

/** Infers the type of the connection's settings. */
export const defineSourceKind = <const Settings extends TSchema>(kind: SourceKind<Settings>): SourceKind =>
  kind as unknown as SourceKind;
