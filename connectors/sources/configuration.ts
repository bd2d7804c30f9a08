/**
 * Reads the configuration of sources (R29) and checks all of it: the schema, each kind's connection, fields, units,
 * locations, policies and secrets. Every fault is reported at once, with file, line, JSON pointer and what was
 * expected; a file with a fault is not used at all. The file names secrets and never has them.
 */
import { dirname, resolve } from "node:path";
import { isSourceName, LEDGER, type Measure, PUBLISHED } from "../../engine/reconciliation/model.js";
import {
  ASK_ALWAYS,
  type ConflictPolicies,
  type ConflictPolicy,
} from "../../engine/reconciliation/settlement/conflict-policy.js";
import { readJsonFile } from "../configuration/json-file.js";
import { escapedName } from "../configuration/json-places.js";
import { assertNoFaults, type PlacedFault, placed, repeatedNames } from "../configuration/placed-faults.js";
import { type ConfigurationFault, schemaFaults } from "../configuration/schema-faults.js";
import { resolveSecrets } from "../configuration/secrets.js";
import { nameFault } from "../mapping/mapping.schema.js";
import type { FieldNames, PullKind, SourceKind } from "../source.js";
import { type PullJson, type SourceJson, SourcesFile, type SourcesJson } from "./configuration.schema.js";
import { timeFormatFault } from "./times.js";

export type PullSchedule = { readonly everyMs: number } | { readonly daily: readonly string[] };

export interface PullConfiguration {
  readonly schedule: PullSchedule;
  readonly fields: FieldNames;
  readonly timeFormat: string;
  /** Of movements: how far the first pull reaches back. */
  readonly reachMs: number;
}

/** A source as the configuration states it, checked, with defaults. */
export interface SourceConfiguration {
  readonly name: string;
  readonly about: string;
  readonly kind: SourceKind;
  readonly measure: Measure;
  /** Of the kind, with the texts of secrets: not to be printed. */
  readonly settings: unknown;
  readonly pulls: Readonly<Partial<Record<PullKind, PullConfiguration>>>;
  /** Of every row, when no field names it. */
  readonly location: string | undefined;
  /** Theirs to ours; null: rows of it are left out. */
  readonly locations: ReadonlyMap<string, string | null>;
  readonly otherLocations: "fault" | "ignore" | "same";
  /** Pieces in each unit; undefined: everything counts pieces. */
  readonly units: ReadonlyMap<string, number> | undefined;
  readonly perSecond: number;
  readonly timeoutMs: number;
  readonly retries: number;
  /** A snapshot older than this is not compared. */
  readonly freshnessMs: number;
  /** Of relative paths. */
  readonly folder: string;
}

export interface SourcesConfiguration {
  readonly sources: readonly SourceConfiguration[];
  readonly conflicts: ConflictPolicies;
}

export interface ConfigurationReading {
  /** Sources without a fault of their own; all of them when there is no fault. */
  readonly configuration: SourcesConfiguration;
  readonly faults: readonly PlacedFault[];
  /** Texts that no log may show. */
  readonly secrets: readonly string[];
}

export interface ConfigurationLookup {
  readonly kinds: readonly SourceKind[];
  /** A variable of the environment. */
  env(name: string): string | undefined;
}

const OP = "sources.configuration";
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_RETRIES = 4;
/** A day and the time that a nightly export may be late. */
const DAILY_FRESHNESS_MS = 26 * 3_600_000;
/** A pull may fail twice before its snapshot counts as old. */
const PULLS_OF_FRESHNESS = 3;
const LEAST_FRESHNESS_MS = 600_000;
/** 1,200 batches of movements are kept of a source: 8 days of one every 10 minutes. */
const LEAST_MOVEMENTS_MS = 600_000;
const DEFAULT_REACH_MS = 86_400_000;
/** As long as movements are kept. */
const MOST_REACH_MS = 8 * 86_400_000;
/** An answer that takes longer does not come; timers of more than 24 days would end at once. */
const MOST_TIMEOUT_MS = 3_600_000;
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** Names that the engine gives to parties of its own. */
const RESERVED = [LEDGER, PUBLISHED];

/**
 * Reads and checks a file.
 * @throws EngineError `bad_input` only when the file cannot be read or is no JSON
 */
export async function readSources(path: string, lookup: ConfigurationLookup): Promise<ConfigurationReading> {
  const { json, places } = await readJsonFile(OP, path);
  const faults: ConfigurationFault[] = repeatedNames(places);
  const add = (pointer: string, message: string) => faults.push({ pointer, message });
  faults.push(...schemaFaults(SourcesFile, json));
  const secrets: string[] = [];
  const sources: SourceConfiguration[] = [];
  const entries = listOf((json as Partial<SourcesJson> | null)?.sources);
  for (const [index, source] of entries.entries()) {
    const pointer = `/sources/${index}`;
    const before = faults.length;
    const isSound = !faults.some((fault) => fault.pointer === pointer || fault.pointer.startsWith(`${pointer}/`));
    const checked = new SourceCheck(source, lookup, dirname(resolve(path)), (below, message) =>
      add(pointer + below, message),
    );
    const { configuration, texts } = await checked.run(isSound);
    secrets.push(...texts);
    if (isSound && faults.length === before && configuration !== undefined) sources.push(configuration);
  }
  const names = entries.map((source) => source?.name);
  for (const [index, name] of names.entries())
    if (typeof name === "string" && names.indexOf(name) < index)
      add(`/sources/${index}/name`, `is "${name}" as that of another source`);
  const conflicts = policiesOf(json as Partial<SourcesJson> | null, names, add);
  return {
    configuration: { sources, conflicts },
    faults: placed(path, places, faults),
    secrets,
  };
}

/**
 * The same for a process that needs all of it.
 * @throws EngineError `bad_input` with every fault
 */
export async function loadSources(
  path: string,
  lookup: ConfigurationLookup,
): Promise<SourcesConfiguration & { readonly secrets: readonly string[] }> {
  const { configuration, faults, secrets } = await readSources(path, lookup);
  assertNoFaults(OP, faults);
  return { ...configuration, secrets };
}

const listOf = (value: unknown): (SourceJson | null)[] => (Array.isArray(value) ? value : []);

const durationMs = (text: string): number => {
  const [, amount, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(text) ?? [];
  return Number(amount) * (UNIT_MS[unit ?? ""] ?? Number.NaN);
};

function policiesOf(
  json: Partial<SourcesJson> | null,
  names: readonly unknown[],
  add: (pointer: string, message: string) => void,
): ConflictPolicies {
  const policies: Record<string, ConflictPolicy> = { ...ASK_ALWAYS };
  for (const [measure, given] of Object.entries(json?.conflicts ?? {})) {
    const pointer = `/conflicts/${measure}`;
    if (typeof given !== "object" || given === null) continue;
    const { policy, order } = given as { policy?: string; order?: unknown };
    if (policy === "rank" && order === undefined)
      add(`${pointer}/order`, 'is missing; "rank" needs the order of sources');
    if (policy !== "rank" && order !== undefined) add(`${pointer}/order`, 'is allowed only with "policy": "rank"');
    const ranked = Array.isArray(order) ? order : [];
    for (const [index, name] of ranked.entries()) {
      if (name !== LEDGER && !names.includes(name))
        add(`${pointer}/order/${index}`, `is ${JSON.stringify(name)}, and no source has this name`);
      if (ranked.indexOf(name) < index) add(`${pointer}/order/${index}`, `is ${JSON.stringify(name)} a second time`);
    }
    policies[measure] = given as ConflictPolicy;
  }
  return policies as unknown as ConflictPolicies;
}

/** The checks of one source that its schema cannot make. */
class SourceCheck {
  readonly #json: SourceJson | null;
  readonly #lookup: ConfigurationLookup;
  readonly #folder: string;
  readonly #add: (pointer: string, message: string) => void;

  constructor(
    json: SourceJson | null,
    lookup: ConfigurationLookup,
    folder: string,
    /** Pointers begin at the source. */
    add: (pointer: string, message: string) => void,
  ) {
    this.#json = json;
    this.#lookup = lookup;
    this.#folder = folder;
    this.#add = add;
  }

  /** @param isSound whether the source fits the schema, so that its parts can be read */
  async run(isSound: boolean): Promise<{ configuration?: SourceConfiguration; texts: readonly string[] }> {
    const json = this.#json;
    if (typeof json !== "object" || json === null) return { texts: [] };
    const { kinds } = this.#lookup;
    const kind = kinds.find(({ name }) => name === json.kind);
    if (!kind) {
      if (typeof json.kind === "string")
        this.#add("/kind", `is "${json.kind}", and must be one of ${kinds.map(({ name }) => name).join(", ")}`);
      return { texts: [] };
    }
    const unsound = schemaFaults(kind.connection, json.connection, "/connection");
    for (const { pointer, message } of unsound) this.#add(pointer, message);
    const { settings, faults, texts } =
      unsound.length === 0
        ? await resolveSecrets(kind.connection as unknown as Record<string, unknown>, json.connection, {
            env: this.#lookup.env,
            folder: this.#folder,
          })
        : { settings: undefined, faults: [], texts: [] };
    for (const { pointer, message } of faults) this.#add(`/connection${pointer}`, message);
    if (!isSound) return { texts };
    this.#checkName(json.name);
    this.#checkLocations(json);
    if (json.timeout !== undefined && durationMs(json.timeout) > MOST_TIMEOUT_MS)
      this.#add("/timeout", `is "${json.timeout}", and must be at most 1h`);
    const needs = unsound.length === 0 ? (kind.needs?.(json.connection as never) ?? []) : [];
    const pulls = this.#pulls(json, kind, needs);
    return { configuration: this.#configurationOf(json, kind, settings, pulls), texts };
  }

  #configurationOf(
    json: SourceJson,
    kind: SourceKind,
    settings: unknown,
    pulls: SourceConfiguration["pulls"],
  ): SourceConfiguration {
    return {
      name: json.name,
      about: json.about ?? "",
      kind,
      measure: json.measure,
      settings,
      pulls,
      location: json.location,
      locations: new Map(Object.entries(json.locations ?? {})),
      otherLocations: json.otherLocations ?? (json.locations === undefined ? "same" : "fault"),
      units: json.units === undefined ? undefined : new Map(Object.entries(json.units)),
      perSecond: json.perSecond ?? kind.perSecond,
      timeoutMs: json.timeout === undefined ? DEFAULT_TIMEOUT_MS : durationMs(json.timeout),
      retries: json.retries ?? DEFAULT_RETRIES,
      freshnessMs: json.freshness === undefined ? defaultFreshnessMs(pulls) : durationMs(json.freshness),
      folder: this.#folder,
    };
  }

  #checkName(name: string): void {
    if (RESERVED.includes(name) || !isSourceName(name))
      this.#add("/name", `is "${name}", which the engine uses for a party of its own`);
  }

  #checkLocations({ location, locations, otherLocations }: SourceJson): void {
    if (location !== undefined) {
      const fault = nameFault(location);
      if (fault !== undefined) this.#add("/location", fault);
      if (locations !== undefined || otherLocations !== undefined)
        this.#add(locations === undefined ? "/otherLocations" : "/locations", 'has no meaning beside "location"');
    }
    for (const [theirs, ours] of Object.entries(locations ?? {})) {
      const fault = ours === null ? undefined : nameFault(ours);
      if (fault !== undefined) this.#add(`/locations/${escapedName(theirs)}`, fault);
    }
  }

  #pulls(json: SourceJson, kind: SourceKind, needs: readonly (keyof FieldNames)[]): SourceConfiguration["pulls"] {
    const pulls: Partial<Record<PullKind, PullConfiguration>> = {};
    for (const pull of ["snapshot", "movements"] as const) {
      const given = json[pull];
      if (given === undefined) continue;
      if (!kind.pulls.includes(pull)) this.#add(`/${pull}`, `is nothing that the kind "${kind.name}" gives`);
      else pulls[pull] = this.#pull(json, kind, pull, given, needs);
    }
    if (json.snapshot === undefined && json.movements === undefined)
      this.#add("", 'needs "snapshot", "movements" or both: what is pulled and when');
    return pulls;
  }

  #pull(
    json: SourceJson,
    kind: SourceKind,
    pull: PullKind,
    given: PullJson,
    needs: readonly (keyof FieldNames)[],
  ): PullConfiguration {
    const place = `/${pull}`;
    const fields: FieldNames = { ...kind.fields?.[pull], ...given.fields };
    const needed = new Set<keyof FieldNames>([
      ...(["sku", "units"] as const),
      ...(pull === "snapshot" ? needs : (["time", "id"] as const)),
    ]);
    if (json.location === undefined) needed.add("location");
    for (const name of needed)
      if (fields[name] === undefined)
        this.#add(
          `${place}/fields/${name}`,
          name === "location" ? 'is missing; without such a field "location" names the one of all rows' : "is missing",
        );
    if (json.location !== undefined && given.fields?.location !== undefined)
      this.#add(`${place}/fields/location`, 'excludes "location", which names the one of all rows');
    if (fields.unit !== undefined && json.units === undefined)
      this.#add(`${place}/fields/unit`, 'needs "units", which states how many pieces each unit has');
    if (fields.unit === undefined && json.units !== undefined)
      this.#add(`${place}/fields/unit`, 'is missing; "units" needs the field that names the unit');
    if (given.reach !== undefined && pull === "snapshot") this.#add(`${place}/reach`, "belongs to movements");
    else if (given.reach !== undefined && durationMs(given.reach) > MOST_REACH_MS)
      this.#add(`${place}/reach`, `is "${given.reach}", and must be at most 8d: older movements are not kept`);
    const timeFormat = given.timeFormat ?? kind.timeFormat ?? "iso";
    const fault = timeFormatFault(timeFormat);
    if (fault !== undefined) this.#add(`${place}/timeFormat`, fault);
    const { every, daily } = given.schedule;
    const schedule = every === undefined ? { daily: daily ?? [] } : { everyMs: durationMs(every) };
    const leastMs = pull === "movements" ? LEAST_MOVEMENTS_MS : 1_000;
    if ("everyMs" in schedule && schedule.everyMs < leastMs)
      this.#add(`${place}/schedule/every`, `is "${every}", and must be at least ${leastMs / 1_000}s for ${pull}`);
    return { schedule, fields, timeFormat, reachMs: given.reach ? durationMs(given.reach) : DEFAULT_REACH_MS };
  }
}

function defaultFreshnessMs({ snapshot }: SourceConfiguration["pulls"]): number {
  if (snapshot === undefined || !("everyMs" in snapshot.schedule)) return DAILY_FRESHNESS_MS;
  return Math.max(LEAST_FRESHNESS_MS, PULLS_OF_FRESHNESS * snapshot.schedule.everyMs);
}
