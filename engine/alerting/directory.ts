/**
 * Who can be notified: people with their devices, endpoints and routes of the configuration file, and the channels that
 * reach people without an endpoint. The targets of a route are expanded into recipients with it (recipients.ts). People
 * and devices are read from their stores, a second old at most; the rest stays the same while a process lives.
 */
import type { DeviceStore } from "./device-store.js";
import type { ChannelTraits } from "./notification.js";
import type { Device, Person, PersonLanguage } from "./people.js";
import type { PeopleStore } from "./people-store.js";
import type { AlertRoute } from "./route.js";

/** An endpoint of the configuration file, such as a group robot. */
export interface AlertEndpoint {
  readonly name: string;
  readonly channel: string;
  readonly language: PersonLanguage;
  readonly traits: ChannelTraits;
}

/** What the configuration and the connectors of a process say about channels. */
export interface ChannelDirectory {
  readonly endpoints: readonly AlertEndpoint[];
  /** Those of the configuration file, in its order; the first that matches is used. */
  readonly routes: readonly AlertRoute[];
  /** The channels that reach people without an endpoint, `web-push` and `wecom`, as far as they are configured. */
  readonly personChannels: ReadonlyMap<string, ChannelTraits>;
}

export interface Directory extends ChannelDirectory {
  readonly people: readonly Person[];
  /** Of all people. */
  readonly devices: readonly Pick<Device, "id" | "person" | "channel" | "silentPushes">[];
}

/** Without a configuration file and without a channel. */
export const NO_CHANNELS: ChannelDirectory = { endpoints: [], routes: [], personChannels: new Map() };

export interface AlertDirectory {
  /** As it is now; a second old at most. */
  read(): Promise<Directory>;
}

export const directoryOf = (
  people: Pick<PeopleStore, "list">,
  devices: Pick<DeviceStore, "all">,
  channels: ChannelDirectory,
): AlertDirectory => ({
  read: async () => ({ ...channels, people: await people.list(), devices: await devices.all() }),
});
