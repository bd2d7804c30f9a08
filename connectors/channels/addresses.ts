/**
 * What all workers together send to the addresses of a channel (addresses.lua): in no minute more messages than the
 * channel's limit, nothing while an address is on hold, and no message that it has accepted before. The notification
 * job keeps the limit of each recipient; this one also holds where several recipients share an address. Such an address
 * gets an alert once within two minutes, of whichever recipient comes first. What an address has accepted is stored as
 * soon as the answer is there, so that a crash sends again only what was under way.
 */
import type { Clock } from "../../engine/kernel/clock.js";
import { callFunction, loadLibrary } from "../../engine/stream/functions.js";
import { channelAddressKeys } from "../../engine/stream/keys.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { nowArgument } from "../../engine/stream/server-clock.js";

export const loadChannelsLibrary = (redis: RedisClient): Promise<void> =>
  loadLibrary(redis, new URL("./addresses.lua", import.meta.url));

export interface AddressesOptions {
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly channel: string;
  /** Messages to one address in any minute. */
  readonly perMinute: number;
  /** Left out: the Redis server's own. */
  readonly serverClock?: Clock;
}

/** Whether a message may be sent now; otherwise why not. */
export type Permission = "send" | "accepted_before" | { readonly waitMs: number };

/** Longer than a process whose lease has ended may still send an old copy of the delivery. */
const LEAST_KEPT_MS = 600_000;
/** The ladders of those who are notified together come to an address within a minute and its limits. */
const SHARED_MS = 120_000;

/** A message that is sent to an address. */
export interface AddressedMessage {
  readonly id: string;
  readonly recipient: string;
  /** Alerts of which it is the news; left out: none. Another recipient's message with all of them is not sent. */
  readonly alertIds?: readonly string[];
}

export class Addresses {
  readonly #options: AddressesOptions;

  constructor(options: AddressesOptions) {
    this.#options = options;
  }

  /** If it may be sent, it counts for the limit. */
  async take(to: string, { id, recipient, alertIds = [] }: AddressedMessage): Promise<Permission> {
    const { redis, perMinute, serverClock } = this.#options;
    const { times, hold, accepted, alert } = this.#keysOf(to);
    const keys = [times, hold, accepted(id), ...alertIds.map(alert)];
    const reply = Number(
      await callFunction(redis, "channel_take", keys, [nowArgument(serverClock), perMinute, recipient]),
    );
    return reply === 0 ? "send" : reply < 0 ? "accepted_before" : { waitMs: reply };
  }

  /** Records that an address has a message. @param ttlMs for which the message may be sent */
  async accepted(to: string, { id, recipient, alertIds = [] }: AddressedMessage, ttlMs: number): Promise<void> {
    const { redis } = this.#options;
    const { accepted, alert } = this.#keysOf(to);
    await Promise.all([
      redis.set(accepted(id), "1", "PX", Math.ceil(Math.max(0, ttlMs)) + LEAST_KEPT_MS),
      ...alertIds.map((alertId) => redis.set(alert(alertId), `a${recipient}`, "PX", SHARED_MS)),
    ]);
  }

  /** Sends nothing to an address for so long. */
  async hold(to: string, forMs: number): Promise<void> {
    await this.#options.redis.set(this.#keysOf(to).hold, "1", "PX", Math.max(1, Math.ceil(forMs)));
  }

  #keysOf(to: string) {
    const { prefix, channel } = this.#options;
    return channelAddressKeys(prefix, channel, to);
  }
}
