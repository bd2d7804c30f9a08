/**
 * A channel as a line of the table of connectors: its sink delivers the messages of the topic `notifications` that are
 * addressed to its endpoints. Without an endpoint in the configuration file no sink is opened: no lease is taken and no
 * connection is made.
 */
import { NOTIFICATIONS_TOPIC } from "../../engine/alerting/notification.js";
import { monotonicClock } from "../../engine/kernel/clock.js";
import type { ChannelKind, OpenChannel } from "../channel.js";
import { type Connector, type ConnectorParts, defineSink, type OpenSink, type Sink } from "../connector.js";
import { channelsOptions } from "./options.js";

/** Until the kind is loaded; its own limits count. */
const LIMITS = { perSecond: 10, inFlight: 1 };

/** @param load the kind, whose module is loaded only when it is needed */
export const channelConnector = (name: string, load: () => Promise<ChannelKind>): Connector => ({
  name,
  channelKind: load,
  sinks: [channelSink(name, load)],
});

const channelSink = (name: string, load: () => Promise<ChannelKind>): Sink =>
  defineSink({
    name,
    topic: NOTIFICATIONS_TOPIC,
    options: channelsOptions,
    isConfigured: ({ alerts }) => alerts !== undefined,
    limits: () => LIMITS,
    async open(_values, parts) {
      const endpoints = parts.channels.connections.get(name);
      if (endpoints === undefined) return undefined;
      const { open, traits, limits } = await load();
      const channel = await open({ endpoints, clock: parts.clock });
      return openChannelSink({ name, channel, limits, perMinute: traits.perMinute }, parts);
    },
  }) as unknown as Sink;

/** What a sink of a channel is made of. */
export interface ChannelSinkParts {
  readonly name: string;
  readonly channel: OpenChannel;
  readonly limits: ChannelKind["limits"];
  /** Messages to one address in a minute. */
  readonly perMinute: number;
}

/** The sink of an open channel, also of one whose addresses are not endpoints of the configuration file. */
export async function openChannelSink(
  { name, channel, limits, perMinute }: ChannelSinkParts,
  { redis, prefix, lease, channels, clock, append, onTrouble }: ConnectorParts,
): Promise<OpenSink> {
  const [{ Addresses, loadChannelsLibrary }, { ChannelReceiver }, { acceptanceSeconds, observeAcceptance }] =
    await Promise.all([import("./addresses.js"), import("./receiver.js"), import("./acceptance-seconds.js")]);
  const acceptance = acceptanceSeconds(channels);
  // Present from the start: a rate of a series that begins with its first value misses it.
  acceptance.zero({ channel: name });
  await loadChannelsLibrary(redis);
  const { serverClock } = lease;
  const addresses = new Addresses({
    ...{ redis, prefix, channel: name, perMinute },
    ...(serverClock === undefined ? {} : { serverClock }),
  });
  const receiver = new ChannelReceiver({
    ...{ name, channel, addresses, append, clock, onTrouble },
    timer: monotonicClock,
    publicUrl: channels.publicUrl,
    secrets: channels.secrets,
    onAccepted: (message) => observeAcceptance(acceptance, name, message, clock.now()),
  });
  return {
    receiver,
    limits,
    metrics: [acceptance],
    warnings: () => receiver.warnings(),
    close: () => channel.close?.(),
  };
}
