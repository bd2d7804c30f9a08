/**
 * Settings that must be the same in every process of a deployment, because results depend on them: for example the
 * time zone, or the time after which a step of an order is late. The first process that starts with a setting writes it
 * into the deployment's hash; a later process with another value does not start. To change a setting, an operator stops
 * every process and starts the first one with `--accept-settings`. Earlier releases neither write nor check settings.
 */
import { EngineError, messageOf } from "../kernel/errors.js";
import { liveProcesses, readFleet } from "./fleet.js";
import { deploymentKey } from "./keys.js";
import type { RedisClient } from "./redis.js";

/** By the option's name, such as `zone`; the value as text. */
export type SharedSettings = Readonly<Record<string, string>>;

const FIELD = "setting:";

export interface SettingsClaim {
  redis: RedisClient;
  prefix: string;
  settings: SharedSettings;
  /** Whether these replace stored ones, provided that no other process is running. */
  accept: boolean;
  onTrouble(message: string): void;
}

/**
 * Fixes settings on first use and checks them on every later one.
 * @throws EngineError `settings_differ`, or `settings_in_use` when they cannot be changed now
 */
export async function claimSettings({ redis, prefix, settings, accept, onTrouble }: SettingsClaim): Promise<void> {
  const key = deploymentKey(prefix);
  // Read first: a full Redis rejects even a write that would change nothing.
  const lacking = await missing(redis, key, settings);
  try {
    for (const name of lacking) await redis.hsetnx(key, FIELD + name, settings[name] as string);
  } catch (thrown) {
    // The next process that starts will write them.
    onTrouble(`the settings of this deployment cannot be stored: ${messageOf(thrown)}`);
  }
  const fixed = await redis.hgetall(key);
  const differing = Object.entries(settings).flatMap(([name, value]) => {
    const other = fixed[FIELD + name];
    return other === undefined || other === value ? [] : [{ name, value, other }];
  });
  if (differing.length === 0) return;
  if (!accept) {
    const list = differing.map(({ name, value, other }) => `--${name} ${other}, but this process has ${value}`);
    throw new EngineError(
      `this deployment is run with ${list.join("; with ")}: give every process the same value, or stop them all and start the first with --accept-settings`,
      { op: "deployment.settings", code: "settings_differ", retryable: false, input: differing[0]?.name ?? "" },
    );
  }
  const alive = liveProcesses(await readFleet(redis, prefix));
  if (alive.length > 0) {
    throw new EngineError(
      `${alive.join(", ")} still runs with --${differing.map(({ name, other }) => `${name} ${other}`).join(", --")}: stop it first`,
      { op: "deployment.settings", code: "settings_in_use", retryable: true, input: differing[0]?.name ?? "" },
    );
  }
  for (const { name, value } of differing) await redis.hset(key, FIELD + name, value);
}

async function missing(redis: RedisClient, key: string, settings: SharedSettings): Promise<string[]> {
  const names = Object.keys(settings);
  if (names.length === 0) return [];
  const values = await redis.hmget(key, ...names.map((name) => FIELD + name));
  return names.filter((_, i) => values[i] === null);
}

/** A setting of a deployment by its option's name; undefined when no process has stored it. */
export const readSetting = async (redis: RedisClient, prefix: string, name: string): Promise<string | undefined> =>
  (await redis.hget(deploymentKey(prefix), FIELD + name)) ?? undefined;
