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
import { CdnFile, type CdnFileJson, type CdnJson } from "./configuration.schema.js";

/** A CDN whose copies are purged: one zone, service or account of a vendor. */
export interface ConfiguredCdn {
  readonly name: string;
  readonly vendor: string;
  /** Of the connection, with the texts of secrets: not to be printed. */
  readonly settings: unknown;
}

export interface CdnConfiguration {
  /** Where shoppers reach the engine through the CDN, without a slash at its end. */
  readonly publicUrl: string;
  readonly cdns: readonly ConfiguredCdn[];
  /** Texts that no log may show. */
  readonly secrets: readonly string[];
}

export interface CdnLookup {
  readonly kinds: readonly PurgerKind[];
  /** A variable of the environment. */
  env(name: string): string | undefined;
}

const OP = "cdn.configuration";

/**
 * Reads and checks a file.
 * @throws EngineError `bad_input` with every fault
 */
export async function loadCdns(path: string, lookup: CdnLookup): Promise<CdnConfiguration> {
  const { json, places } = await readJsonFile(OP, path);
  const faults: ConfigurationFault[] = [...repeatedNames(places), ...schemaFaults(CdnFile, json)];
  const file = (typeof json === "object" && json !== null ? json : {}) as Partial<CdnFileJson>;
  const entries: readonly (CdnJson | null)[] = Array.isArray(file.cdns) ? file.cdns : [];
  const folder = dirname(resolve(path));
  const checked = await Promise.all(entries.map((entry, index) => checkCdn(entry, `/cdns/${index}`, folder, lookup)));
  for (const { found } of checked) faults.push(...found);
  const names = entries.map((entry) => entry?.name);
  for (const [index, name] of names.entries())
    if (typeof name === "string" && names.indexOf(name) < index)
      faults.push({ pointer: `/cdns/${index}/name`, message: `is "${name}" as that of another CDN` });
  assertNoFaults(OP, placed(path, places, faults));
  return {
    publicUrl: (file.publicUrl as string).replace(/\/+$/, ""),
    cdns: checked.flatMap(({ cdn }) => cdn ?? []),
    secrets: checked.flatMap(({ texts }) => texts),
  };
}

/**
 * Opens the purger of every CDN once and closes it, so that faults which only a vendor's code finds end the start of
 * every process, also of one that purges nothing.
 * @throws EngineError `bad_input`
 */
export async function assertPurgersOpen(
  path: string,
  { cdns }: CdnConfiguration,
  { kinds }: Pick<CdnLookup, "kinds">,
  clock: Clock,
): Promise<void> {
  for (const { name, vendor, settings } of cdns) {
    try {
      const purger = await kinds.find((kind) => kind.name === vendor)?.open({ connection: settings, clock });
      await purger?.close?.();
    } catch (thrown) {
      throw badInput(OP, `${path} CDN ${name}`, messageOf(thrown), thrown);
    }
  }
}

interface CheckedCdn {
  readonly found: readonly ConfigurationFault[];
  readonly cdn?: ConfiguredCdn;
  readonly texts: readonly string[];
}

async function checkCdn(
  json: CdnJson | null,
  pointer: string,
  folder: string,
  { kinds, env }: CdnLookup,
): Promise<CheckedCdn> {
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
  return { found: faults, cdn: { name, vendor, settings }, texts };
}
