/**
 * A channel as the receiver of a sink, with its limits in a real Redis: what is sent, what waits, what becomes of a
 * message, and that one address that fails concerns no other.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ChannelOutcome, OutgoingMessage } from "../../../connectors/channel.js";
import { Addresses, loadChannelsLibrary } from "../../../connectors/channels/addresses.js";
import { noChannels } from "../../../connectors/channels/configuration.js";
import { openChannelSink } from "../../../connectors/channels/sink.js";
import type { ConnectorParts } from "../../../connectors/connector.js";
import type { SendRequest } from "../../../engine/alerting/notification.js";
import { ManualClock } from "../../../engine/kernel/clock.js";
import type { DeliveryOutcome, Receiver } from "../../../engine/outbox/receiver.js";
import type { NewEvent } from "../../../engine/stream/event-entry.js";
import type { RedisClient } from "../../../engine/stream/redis.js";
import { messageOf } from "../../conformance/channel.js";
import { withRedis } from "../../redis/with-redis.js";

const redis = withRedis();
const T0 = 1_781_000_000_000;
const PER_MINUTE = 4;
let client: RedisClient;
let round = 0;

beforeAll(async () => {
  client = redis.connect();
  await loadChannelsLibrary(client);
});

describe("the limits of an address", () => {
  let clock: ManualClock;
  let addresses: Addresses;
  beforeEach(() => {
    clock = new ManualClock(T0);
    const options = { redis: client, prefix: `limits${round++}`, channel: "robot", perMinute: PER_MINUTE };
    addresses = new Addresses({ ...options, serverClock: clock });
  });
  const take = (id: string, to = "ops") => addresses.take(to, { id, recipient: "person:li" });

  it("allow so many messages in any minute, and say how long the next one waits", async () => {
    for (let i = 0; i < PER_MINUTE; i++) {
      clock.moveTo(T0 + i * 1_000);
      expect(await take(`m/${i}`)).toBe("send");
    }
    expect(await take("m/4")).toEqual({ waitMs: 57_000 });
    expect(await take("m/4", "other")).toBe("send");
    clock.moveTo(T0 + 59_999);
    expect(await take("m/4")).toEqual({ waitMs: 1 });
    clock.moveTo(T0 + 60_000);
    expect(await take("m/4")).toBe("send");
    expect(await take("m/5")).toEqual({ waitMs: 1_000 });
  });

  it("do not block an address for longer than a minute when the clock goes back", async () => {
    for (let i = 0; i < PER_MINUTE; i++) await take(`m/${i}`);
    const earlier = new ManualClock(T0 - 3_600_000);
    const options = { redis: client, prefix: `limits${round - 1}`, channel: "robot", perMinute: PER_MINUTE };
    const later = new Addresses({ ...options, serverClock: earlier });
    expect(await later.take("ops", { id: "m/4", recipient: "person:li" })).toEqual({ waitMs: 60_000 });
    earlier.moveTo(T0 - 3_600_000 + 60_000);
    expect(await later.take("ops", { id: "m/4", recipient: "person:li" })).toBe("send");
  });

  it("hold an address for all processes, and recognise what it has accepted", async () => {
    await addresses.hold("{ops}", 5_000);
    expect(await take("m/1", "{ops}")).toMatchObject({ waitMs: expect.any(Number) });
    await addresses.accepted("ops", { id: "m/1", recipient: "person:li" }, 1_000);
    expect([await take("m/1"), await take("m/2")]).toEqual(["accepted_before", "send"]);
  });
});

describe("an address that several recipients share", () => {
  let addresses: Addresses;
  beforeEach(() => {
    addresses = new Addresses({ redis: client, prefix: `shared${round++}`, channel: "robot", perMinute: 20 });
  });
  const message = (recipient: string, n: number, ...alertIds: string[]) => ({
    ...{ id: `${recipient}/${n}`, recipient, alertIds },
  });

  it("gets an alert once: others wait while it is sent, and count as accepted then", async () => {
    const [of1, of2] = [message("person:li", 1, "CUP#1"), message("person:lin", 1, "CUP#1")];
    expect([await addresses.take("ops", of1), await addresses.take("ops", of2)]).toEqual(["send", { waitMs: 1_000 }]);
    // Its owner tries again after a failure.
    expect(await addresses.take("ops", of1)).toBe("send");
    await addresses.accepted("ops", of1, 1_000);
    expect(await addresses.take("ops", of2)).toBe("accepted_before");
    expect(await addresses.take("other", of2)).toBe("send");
  });

  it("gets what is new to it, of the same recipient also a second time, and all without alerts", async () => {
    const first = message("person:li", 1, "CUP#1");
    await addresses.take("ops", first);
    await addresses.accepted("ops", first, 1_000);
    expect(await addresses.take("ops", message("person:lin", 1, "CUP#1", "CUP#2"))).toBe("send");
    expect(await addresses.take("ops", message("person:li", 2, "CUP#1"))).toBe("send");
    expect(await addresses.take("ops", message("person:lin", 2))).toBe("send");
  });
});

describe("a channel as a receiver", () => {
  let clock: ManualClock;
  let sent: OutgoingMessage[];
  let appended: NewEvent[];
  let receiver: Receiver;
  let warnings: () => string[];
  let answer: (outgoing: OutgoingMessage) => ChannelOutcome;

  beforeEach(async () => {
    clock = new ManualClock(T0);
    sent = [];
    appended = [];
    answer = () => ({ outcome: "accepted" });
    const channel = {
      async send(outgoing: OutgoingMessage) {
        sent.push(outgoing);
        return answer(outgoing);
      },
    };
    const channels = { ...noChannels("https://stock.example/"), secrets: ["very-secret/key"] };
    const open = await openChannelSink(
      { name: "robot", channel, limits: { perSecond: 10, inFlight: 1 }, perMinute: 100 },
      {
        ...{ redis: client, prefix: `receiver${round++}`, channels, clock },
        lease: { owner: "test", leaseMs: 1_000 },
        append: async (_topic: string, events: readonly NewEvent[]) => void appended.push(...events),
        onTrouble: () => {},
      } as unknown as ConnectorParts,
    );
    receiver = open.receiver;
    warnings = () => open.warnings?.() ?? [];
  });

  const request = (n: number, to = "ops"): SendRequest => ({
    recipient: `endpoint:${to}`,
    address: { channel: "robot", to },
    message: messageOf(1, { id: `endpoint:${to}/${n}` }),
    expiresMs: T0 + 600_000,
  });
  const deliveryOf = (payload: SendRequest) => ({
    ...{ id: payload.message.id, kind: "send-robot", key: payload.recipient, atMs: T0, payload },
  });
  const deliver = (payload: SendRequest): Promise<DeliveryOutcome> =>
    receiver.deliver(deliveryOf(payload), new AbortController().signal, false);
  /** Delivers, and settles as an outbox does. */
  const settle = async (payload: SendRequest) => {
    const outcome = await deliver(payload);
    if (outcome.outcome === "done")
      await receiver.delivered?.(0, [{ delivery: deliveryOf(payload), receipt: outcome.receipt, atMs: T0 + 1 }]);
    return outcome;
  };

  it("sends a message with a link, and reports that it is accepted", async () => {
    await settle(request(1));
    expect(sent).toMatchObject([{ to: "ops", url: "https://stock.example/phone#alert=SKU-1%231", ttlMs: 600_000 }]);
    expect(appended).toMatchObject([
      {
        ...{ key: "endpoint:ops", kind: "delivered", atMs: T0 + 1 },
        payload: { messageId: "endpoint:ops/1", address: { channel: "robot", to: "ops" }, result: "accepted" },
      },
    ]);
  });

  it("does not send again what the address has accepted, and reports it again", async () => {
    await deliver(request(1));
    await settle(request(1));
    expect(sent).toHaveLength(1);
    expect(appended).toMatchObject([{ payload: { result: "accepted" } }]);
  });

  it("sends nothing that has expired, and reports a failure", async () => {
    clock.moveTo(T0 + 600_000);
    await settle(request(1));
    expect(sent).toEqual([]);
    expect(appended).toMatchObject([{ payload: { result: "failed", reason: expect.stringContaining("expired") } }]);
  });

  it("reports a refusal without secrets, and that an address does not exist any more", async () => {
    answer = () => ({ outcome: "refused", reason: "no: very-secret/key very-secret%2Fkey", isGone: true });
    await settle(request(1));
    expect(appended).toMatchObject([{ payload: { result: "failed", reason: "no: *** ***", isGone: true } }]);
    expect(warnings()).toEqual([]);
  });

  it("warns of an address that refuses until it accepts", async () => {
    answer = () => ({ outcome: "refused", reason: "HTTP 401" });
    await settle(request(1));
    expect(warnings()).toEqual(["robot does not deliver to ops: HTTP 401"]);
    answer = () => ({ outcome: "accepted" });
    await settle(request(2));
    expect(warnings()).toEqual([]);
  });

  it("holds up no other address when one fails, and no sink", async () => {
    answer = ({ to }) => (to === "dead" ? { outcome: "retry", reason: "HTTP 500" } : { outcome: "accepted" });
    for (let i = 0; i < 20; i++) {
      expect(await settle(request(i, "dead"))).toMatchObject({ outcome: "retry", isUnsent: true });
      expect(await settle(request(i))).toMatchObject({ outcome: "done" });
    }
    expect(sent.filter(({ to }) => to === "dead")).toHaveLength(3);
    expect(sent.filter(({ to }) => to === "ops")).toHaveLength(20);
  });

  it("keeps the pause that a system asks for, and fails at once what would expire before", async () => {
    answer = () => ({ outcome: "retry", reason: "HTTP 429", throttled: true, retryAfterMs: 120_000 });
    expect(await settle(request(1))).toMatchObject({ outcome: "retry", retryAfterMs: 120_000 });
    expect(await settle(request(2))).toMatchObject({ outcome: "retry", retryAfterMs: expect.any(Number) });
    expect(sent).toHaveLength(1);
    clock.moveTo(T0 + 500_000);
    expect(await settle(request(3))).toMatchObject({ outcome: "done", receipt: { result: "failed" } });
    expect(sent).toHaveLength(1);
  });

  it("reports a delivery that became a dead letter as failed", async () => {
    await receiver.deadLettered?.(0, [deliveryOf(request(1))]);
    expect(appended).toMatchObject([{ payload: { result: "failed" } }]);
  });
});
