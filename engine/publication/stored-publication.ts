/**
 * The publication that a store has: its manifest's version and instant, and the names that must not be deleted. An
 * owner reads it once, when it takes over, and then knows what it has stored itself. What cannot be read counts as not
 * stored, so it is written again; a manifest of a later form is left alone.
 */
import { DEFAULT_CLOCK_BOUND_MS } from "../kernel/clock.js";
import { EngineError, messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { parseIndexNames, parseManifest } from "./manifest.js";
import type { PublicationStore } from "./publication-store.js";

export interface StoredPublication {
  /** Undefined: there is no manifest. */
  readonly version: string | undefined;
  /** 0: any newer one may replace it. */
  readonly asOfMs: number;
  /** Of all objects that it names, index objects too. */
  readonly names: ReadonlySet<string>;
  /** The manifest's text. */
  readonly json: Uint8Array | undefined;
}

/**
 * @param nowMs real time: an instant that lies after it by more than clocks differ is not believed
 * @throws EngineError `newer_version`, or when the store does not answer
 */
export async function readPublication(
  store: PublicationStore,
  nowMs: number,
  onTrouble: OnTrouble,
  signal: AbortSignal,
): Promise<StoredPublication> {
  const stored = await store.readManifest(signal);
  if (!stored) return { version: undefined, asOfMs: 0, names: new Set(), json: undefined };
  const { version, json } = stored;
  try {
    const { asOfMs, index } = parseManifest(json, `${store.place}: manifest.json`);
    const names = await namesOf(store, index, onTrouble, signal);
    const isBelieved = asOfMs <= nowMs + DEFAULT_CLOCK_BOUND_MS;
    if (!isBelieved) onTrouble(`${store.place}: the manifest is as of the future; it will be replaced`, {});
    return { version, asOfMs: isBelieved ? asOfMs : 0, names, json };
  } catch (thrown) {
    if (!isUndecodable(thrown)) throw thrown;
    onTrouble(`${messageOf(thrown)}; it will be replaced`, {});
    return { version, asOfMs: 0, names: new Set(), json };
  }
}

async function namesOf(
  store: PublicationStore,
  index: readonly string[],
  onTrouble: OnTrouble,
  signal: AbortSignal,
): Promise<Set<string>> {
  const names = new Set<string>();
  const read = async (name: string): Promise<void> => {
    const json = await store.read(name, signal);
    if (!json) return onTrouble(`${store.place}: ${name}.json is missing; it will be written again`, {});
    try {
      for (const leaf of parseIndexNames(json, `${store.place}: ${name}.json`).leaves) names.add(leaf);
      names.add(name);
    } catch (thrown) {
      if (!isUndecodable(thrown)) throw thrown;
      onTrouble(`${messageOf(thrown)}; it will be written again`, {});
    }
  };
  // At most MAX_INDEXES.
  await Promise.all(index.map(read));
  return names;
}

const isUndecodable = (thrown: unknown): boolean => thrown instanceof EngineError && thrown.code === "undecodable";
