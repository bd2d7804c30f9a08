/**
 * The stores of a deployment that alerts need: people, their devices, and silences. Connectors, the HTTP API and the
 * engine's own sinks get them as one.
 */
import type { Clock } from "../kernel/clock.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { RedisClient } from "../stream/redis.js";
import { DeviceStore } from "./device-store.js";
import { PeopleStore } from "./people-store.js";
import { SilenceStore } from "./silence-store.js";

export interface AlertingStores {
  readonly people: PeopleStore;
  readonly devices: DeviceStore;
  readonly silences: SilenceStore;
}

export interface AlertingStoreOptions {
  readonly redis: RedisClient;
  readonly prefix: string;
  /** The shop's. */
  readonly clock: Clock;
  readonly onTrouble: OnTrouble;
}

export const openAlertingStores = (options: AlertingStoreOptions): AlertingStores => ({
  people: new PeopleStore(options.redis, options.prefix),
  devices: new DeviceStore(options),
  silences: new SilenceStore(options.redis, options.prefix, options.clock),
});
