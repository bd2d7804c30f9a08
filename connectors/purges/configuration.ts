/**
 * Reads the configuration of CDNs and checks all of it: the schema, each vendor's connection, names and secrets. Every
 * fault is reported at once, with file, line, JSON pointer and what was expected; a file with a fault is not used at
 * all. Whether a vendor accepts the credentials shows with the first purge.
 */
import { dirname, resolve } from "node:path";
import type { Clock } from "../../engine/kernel/clock.js";
import { badInput, messageOf } from "../../engine/kernel/errors.js";
import { checkedConnection } from "../configuration/connection.js";
import { readJsonFile } from "../configuration/json-file.js";
import { assertNoFaults, placed, repeatedNames } from "../configuration/placed-faults.js";
import { type ConfigurationFault, schemaFaults } from "../configuration/schema-faults.js";
import type { PurgerKind } from "../purger.js";
import { CdnFile, type CdnJson, type PurgeJson } from "./configuration.schema.js";

/** A CDN whose copies are purged. */
export interface ConfiguredPurge {
  readonly name: string;
  readonly vendor: string;
  /** Of the connection, with the texts of secrets: not to be printed. */
  readonly settings: unknown;
}

export interface PurgesConfiguration {
  /** Where shoppers reach the engine through the CDN, without a slash at its end. */
  readonly publicUrl: string;
  readonly purges: readonly ConfiguredPurge[];
  /** Texts that no log may show. */
  readonly secrets: readonly string[];
}

export interface PurgesLookup {
  readonly kinds: readonly PurgerKind[];
  /** A variable of the environment. */
  env(name: string): string | undefined;
}

const OP = "cdn.configuration";

/**
 * Reads and checks a file.
 * @throws EngineError `bad_input` with every fault
 */
export async function loadPurges(path: string, lookup: PurgesLookup): Promise<PurgesConfiguration> {
  const { json, places } = await readJsonFile(OP, path);
  const faults: ConfigurationFault[] = [...repeatedNames(places), ...schemaFaults(CdnFile, json)];
  const file = (typeof json === "object" && json !== null ? json : {}) as Partial<CdnJson>;
  const entries: readonly (PurgeJson | null)[] = Array.isArray(file.purges) ? file.purges : [];
  const folder = dirname(resolve(path));
  const checked = await Promise.all(
    entries.map((entry, index) => checkPurge(entry, `/purges/${index}`, folder, lookup)),
  );
  for (const { found } of checked) faults.push(...found);
  const names = entries.map((entry) => entry?.name);
  for (const [index, name] of names.entries())
    if (typeof name === "string" && names.indexOf(name) < index)
      faults.push({ pointer: `/purges/${index}/name`, message: `is "${name}" as that of another purge` });
  assertNoFaults(OP, placed(path, places, faults));
  return {
    publicUrl: (file.publicUrl as string).replace(/\/+$/, ""),
    purges: checked.flatMap(({ purge }) => purge ?? []),
    secrets: checked.flatMap(({ texts }) => texts),
  };
}

/**
 * Opens every purge once and closes it, so that faults which only a vendor's code finds end the start of every process,
 * also of one that purges nothing.
 * @throws EngineError `bad_input`
 */
export async function assertPurgesOpen(
  path: string,
  { purges }: PurgesConfiguration,
  { kinds }: Pick<PurgesLookup, "kinds">,
  clock: Clock,
): Promise<void> {
  for (const { name, vendor, settings } of purges) {
    try {
      const purger = await kinds.find((kind) => kind.name === vendor)?.open({ connection: settings, clock });
      await purger?.close?.();
    } catch (thrown) {
      throw badInput(OP, `${path} purge ${name}`, messageOf(thrown), thrown);
    }
  }
}

interface CheckedPurge {
  readonly found: readonly ConfigurationFault[];
  readonly purge?: ConfiguredPurge;
  readonly texts: readonly string[];
}

async function checkPurge(
  json: PurgeJson | null,
  pointer: string,
  folder: string,
  { kinds, env }: PurgesLookup,
): Promise<CheckedPurge> {
  // The schema reports it.
  if (typeof json !== "object" || json === null || typeof json.vendor !== "string") return { found: [], texts: [] };
  const { name, vendor, connection } = json;
  const kind = kinds.find((each) => each.name === vendor);
  if (!kind) {
    const message = `is "${vendor}", and must be one of ${kinds.map((each) => each.name).join(", ")}`;
    return { found: [{ pointer: `${pointer}/vendor`, message }], texts: [] };
  }
  const place = `${pointer}/connection`;
  const { faults, settings, texts } = await checkedConnection(kind.connection, connection, place, { env, folder });
  return { found: faults, purge: { name, vendor, settings }, texts };
}
