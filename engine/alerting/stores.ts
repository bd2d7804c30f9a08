/**
 * The stores of a deployment that alerts need: people, their devices, and silences; and the directory of all who can be
 * notified. Connectors, the HTTP API and the engine's own sinks get them as one.
 */
import type { Clock } from "../kernel/clock.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { RedisClient } from "../stream/redis.js";
import { DeviceStore } from "./device-store.js";
import { type AlertDirectory, type ChannelDirectory, directoryOf, NO_CHANNELS } from "./directory.js";
import { PeopleStore } from "./people-store.js";
import { SilenceStore } from "./silence-store.js";

export interface AlertingStores {
  readonly people: PeopleStore;
  readonly devices: DeviceStore;
  readonly silences: SilenceStore;
  readonly directory: AlertDirectory;
}

export interface AlertingStoreOptions {
  readonly redis: RedisClient;
  readonly prefix: string;
  /** The shop's. */
  readonly clock: Clock;
  /** Endpoints, routes and channels; left out: none. */
  readonly channels?: ChannelDirectory;
  readonly onTrouble: OnTrouble;
}

export function openAlertingStores(options: AlertingStoreOptions): AlertingStores {
  const { redis, prefix, clock, channels = NO_CHANNELS } = options;
  const people = new PeopleStore(redis, prefix);
  const devices = new DeviceStore(options);
  const silences = new SilenceStore(redis, prefix, clock);
  return { people, devices, silences, directory: directoryOf(people, devices, channels) };
}
