/**
 * What the gateway sends: which feeds a screen gets, snapshots, deltas and heartbeats, how often they are encoded, and
 * what a slow screen gets. Real WebSocket clients on loopback; time is a manual clock and the tests tick by hand.
 */
import { describe, expect, it } from "vitest";
import type { Feed } from "../../dashboards/feed.js";
import { Gateway } from "../../dashboards/gateway.js";
import { MAX_SUBSCRIPTIONS } from "../../dashboards/protocol.js";
import { ManualClock } from "../../engine/kernel/clock.js";
import { settled, useGatewayBed } from "./gateway-bed.js";

const current = useGatewayBed();

describe("subscriptions", () => {
  it("one connection gets several feeds, each with its own numbers", async () => {
    const bed = current();
    await bed.start();
    bed.orders.value = 7;
    const screen = await bed.subscribed({ feeds: [{ name: "orders" }, { name: "stock" }] });
    expect(screen.frames).toEqual([
      { t: "snapshot", feed: "orders", seq: 1, body: { value: 7 } },
      { t: "snapshot", feed: "stock", seq: 1, body: { size: "wall", minutes: 60, value: 0 } },
    ]);
    bed.stock.value = 3;
    bed.tickAfter(250);
    bed.orders.value = 8;
    bed.tickAfter(250);
    await screen.got(4);
    expect(screen.frames.slice(2)).toEqual([
      { t: "delta", feed: "stock", seq: 2, body: { size: "wall", minutes: 60, value: 3 } },
      { t: "delta", feed: "orders", seq: 2, body: { value: 8 } },
    ]);
  });

  it("each set of parameters has a state of its own; parameters left out have their first values", async () => {
    const bed = current();
    await bed.start();
    const wall = await bed.subscribed({ feeds: [{ name: "stock", minutes: 60 }] });
    const phone = await bed.subscribed({ feeds: [{ name: "stock", size: "phone", minutes: 30 }] });
    await bed.subscribed({ feeds: [{ name: "stock", size: "wall" }] });
    expect(wall.last.body).toEqual({ size: "wall", minutes: 60, value: 0 });
    expect(phone.last.body).toEqual({ size: "phone", minutes: 30, value: 0 });
    expect(bed.stock.opened).toBe(2);
  });

  it("subscribing again changes the parameters of a feed, and the answer is a snapshot", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed({ feeds: [{ name: "stock", size: "wall" }] });
    bed.tickAfter(250);
    screen.send({ t: "subscribe", feeds: [{ name: "stock", size: "phone" }] });
    expect(await screen.got(2)).toMatchObject({ t: "snapshot", body: { size: "phone" } });
    bed.stock.value = 1;
    bed.tickAfter(250);
    await screen.got(3);
    bed.tickAfter(250);
    expect(screen.frames).toHaveLength(3);
    expect(screen.last).toMatchObject({ t: "delta", body: { size: "phone", value: 1 } });
  });

  it("a feed that was unsubscribed is not sent any more, and the others are", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed({ feeds: [{ name: "orders" }, { name: "stock" }] });
    screen.send({ t: "unsubscribe", feeds: ["stock"] });
    screen.send({ t: "subscribe", feeds: [{ name: "none" }] }); // its answer shows that both have been processed
    await screen.got(3);
    const { reads } = bed.stock;
    bed.stock.value = 1;
    bed.orders.value = 1;
    bed.tickAfter(250);
    expect(await screen.got(4)).toMatchObject({ t: "delta", feed: "orders" });
    expect(bed.stock.reads).toBe(reads);
  });

  it.each([
    ["that does not exist", { name: "nothing" }, "unknown"],
    ["that the viewer's role may not see", { name: "staff" }, "forbidden"],
    ["with an unknown parameter", { name: "orders", size: "wall" }, "bad_parameters"],
    ["with a value that is not allowed", { name: "stock", size: "cinema" }, "bad_parameters"],
    ["with a value of another type", { name: "stock", minutes: "60" }, "bad_parameters"],
    ["with a parameter of every object", { name: "orders", constructor: "x" }, "bad_parameters"],
  ])("a feed %s is refused with the reason, and the connection stays", async (_, request, reason) => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed({ feeds: [request, { name: "orders" }] });
    expect(screen.frames[0]).toEqual({ t: "refused", feed: request.name, reason });
    bed.orders.value = 1;
    bed.tickAfter(20_000);
    expect(await screen.got(3)).toMatchObject({ t: "delta", feed: "orders" });
    expect(bed.gateway.counters.subscriptionsRefused).toBe(1);
  });

  it("a viewer with the role of a feed gets it", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed({ role: "admin", feeds: [{ name: "staff" }] });
    expect(screen.frames[0]).toMatchObject({ t: "snapshot", feed: "staff" });
  });

  it("a refused change of parameters leaves the subscription as it is", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed({ feeds: [{ name: "stock" }] });
    screen.send({ t: "subscribe", feeds: [{ name: "stock", size: "cinema" }] });
    await screen.got(2);
    bed.stock.value = 1;
    bed.tickAfter(250);
    expect(await screen.got(3)).toMatchObject({ t: "delta", body: { size: "wall", value: 1 } });
  });

  it("more feeds than the limit are refused until one is unsubscribed", async () => {
    const bed = current();
    const many = Array.from({ length: MAX_SUBSCRIPTIONS + 1 }, (_, i): Feed => {
      const state = { advance: () => undefined, snapshot: () => ({}) };
      return { name: `f${i}`, role: "read", open: () => state };
    });
    await bed.start({ feeds: many });
    const names = many.map(({ name }) => ({ name }));
    const screen = await bed.subscribed({ feeds: names.slice(0, MAX_SUBSCRIPTIONS) });
    screen.send({ t: "subscribe", feeds: names.slice(MAX_SUBSCRIPTIONS) });
    expect(await screen.got(MAX_SUBSCRIPTIONS + 1)).toMatchObject({ t: "refused", reason: "too_many" });
    screen.send({ t: "unsubscribe", feeds: ["f0"] });
    screen.send({ t: "subscribe", feeds: names.slice(MAX_SUBSCRIPTIONS) });
    expect(await screen.got(MAX_SUBSCRIPTIONS + 2)).toMatchObject({ t: "snapshot", feed: `f${MAX_SUBSCRIPTIONS}` });
  });

  it.each<[string, Partial<Feed>[], RegExp]>([
    ["a bad name", [{ name: "Stock Heat" }], /"Stock Heat" is not/],
    ["the same name", [{}, {}], /two feeds are called a/],
    ["a parameter called name", [{ parameters: { name: ["x"] } }], /a parameter cannot be called "name"/],
    ["a parameter without values", [{ parameters: { size: [] } }], /size has no values/],
    [
      "too many states",
      [{ parameters: { a: [1, 2, 3, 4, 5], b: [1, 2, 3, 4] } }],
      /20 sets of parameters, more than 16/,
    ],
  ])("feeds with %s are rejected at the start", async (_, feeds, message) => {
    const state = { advance: () => undefined, snapshot: () => ({}) };
    const defined = feeds.map((feed): Feed => ({ name: "a", role: "read", open: () => state, ...feed }));
    expect(() => new Gateway({ feeds: defined, clock: new ManualClock(0), tickMs: 3_600_000 })).toThrow(message);
  });
});

describe("heartbeats", () => {
  it("are sent once a connection, however many feeds it has, only while nothing else is sent", async () => {
    const bed = current();
    await bed.start({ heartbeatMs: 500 });
    const screen = await bed.subscribed({ feeds: [{ name: "orders" }, { name: "stock" }] });
    for (let i = 0; i < 4; i++) bed.tickAfter(250);
    await screen.got(4);
    bed.orders.value++;
    bed.tickAfter(250);
    bed.tickAfter(250);
    bed.tickAfter(250);
    await screen.got(6);
    expect(screen.frames.map(({ t }) => t)).toEqual([
      "snapshot",
      "snapshot",
      "heartbeat",
      "heartbeat",
      "delta",
      "heartbeat",
    ]);
  });

  it("need no ack", async () => {
    const bed = current();
    await bed.start({ heartbeatMs: 500, ackTimeoutMs: 30_000, pingMs: 3_600_000 });
    const screen = await bed.subscribed();
    for (let second = 0; second < 60; second++) {
      bed.tickAfter(1_000);
      await screen.got(2 + second);
    }
    expect(bed.gateway.clients).toBe(1);
  });

  it("are sent to a client that is behind, too", async () => {
    const bed = current();
    await bed.start({ heartbeatMs: 500, maxUnackedFrames: 1 });
    const screen = await bed.subscribed({ acking: false });
    for (let i = 0; i < 4; i++) {
      bed.orders.value++;
      bed.tickAfter(250);
    }
    await screen.got(3);
    expect(screen.frames.map(({ t }) => t)).toEqual(["snapshot", "heartbeat", "heartbeat"]);
  });
});

describe("the cost of many screens", () => {
  it("a frame is encoded once per state and tick, and all its clients get the same bytes", async () => {
    const bed = current();
    await bed.start();
    const walls = [await bed.subscribed(), await bed.subscribed(), await bed.subscribed()];
    const phone = await bed.subscribed({ feeds: [{ name: "stock" }] });
    expect(bed.gateway.clients).toBe(4);
    const before = bed.gateway.counters.framesEncoded;
    bed.orders.value++;
    bed.stock.value++;
    bed.tickAfter(250);
    await Promise.all([...walls, phone].map((screen) => screen.got(2)));
    expect(bed.gateway.counters.framesEncoded - before).toBe(2);
    for (const wall of walls) expect(wall.bytes[1]).toEqual(walls[0]?.bytes[1]);
  });

  it("the snapshots of one tick are encoded once", async () => {
    const bed = current();
    await bed.start();
    await bed.subscribed();
    await bed.subscribed();
    expect(bed.gateway.counters).toMatchObject({ framesEncoded: 1, snapshotsSent: 2 });
  });

  it("a feed without clients is not read, and is read once a tick however often clients come and go", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.connect().open();
    bed.tickAfter(250);
    expect(bed.orders.reads).toBe(0);
    for (let i = 0; i < 5; i++) {
      screen.send({ t: "subscribe", feeds: [{ name: "orders" }] });
      screen.send({ t: "unsubscribe", feeds: ["orders"] });
    }
    screen.send({ t: "subscribe", feeds: [{ name: "none" }] });
    await screen.got(2);
    expect(screen.frames.map(({ t }) => t)).toEqual(["snapshot", "refused"]);
    expect(bed.orders.reads).toBe(1);
  });

  it("the first client after a time without clients gets the present state", async () => {
    const bed = current();
    await bed.start();
    const first = await bed.subscribed();
    first.end();
    await settled(() => bed.gateway.clients === 0);
    bed.orders.value = 500;
    bed.tickAfter(60_000);
    const second = await bed.subscribed();
    expect(second.last.body).toEqual({ value: 500 });
  });
});

describe("a screen that falls behind", () => {
  it("is skipped after a few unacknowledged frames and gets one fresh snapshot when it has caught up", async () => {
    const bed = current();
    await bed.start({ maxUnackedFrames: 3 });
    const slow = await bed.subscribed({ acking: false });
    const fast = await bed.subscribed();
    for (let i = 0; i < 10; i++) {
      bed.orders.value++;
      bed.tickAfter(250);
      await fast.got(i + 2);
    }
    await slow.got(3); // the snapshot and two deltas
    expect(bed.gateway.counters.framesSkipped).toBe(8);
    slow.ack();
    expect(await slow.got(4)).toEqual({ t: "snapshot", feed: "orders", seq: fast.last.seq, body: { value: 10 } });

    slow.ack();
    bed.orders.value++;
    bed.tickAfter(250);
    expect(await slow.got(5)).toMatchObject({ t: "delta", seq: fast.last.seq + 1 });
    expect(slow.frames).toHaveLength(5);
  });

  it("is skipped in that feed alone", async () => {
    const bed = current();
    await bed.start({ maxUnackedFrames: 1 });
    const screen = await bed.subscribed({ acking: false, feeds: [{ name: "orders" }, { name: "stock" }] });
    screen.send({ t: "ack", feed: "stock", seq: 1 });
    screen.send({ t: "subscribe", feeds: [{ name: "none" }] });
    await screen.got(3);
    bed.orders.value++;
    bed.stock.value++;
    bed.tickAfter(250);
    expect(await screen.got(4)).toMatchObject({ t: "delta", feed: "stock" });
    bed.tickAfter(250);
    expect(screen.frames).toHaveLength(4);
  });

  it("gets no more frames by unsubscribing and subscribing again", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed({ acking: false });
    for (let i = 0; i < 5; i++) {
      bed.tickAfter(250);
      screen.send({ t: "unsubscribe", feeds: ["orders"] });
      screen.send({ t: "subscribe", feeds: [{ name: "orders" }, { name: "none" }] });
      await screen.until(() => screen.frames.length === 2 + i);
    }
    expect(bed.gateway.counters.snapshotsSent).toBe(1);
    screen.ack();
    expect(await screen.got(7)).toMatchObject({ t: "snapshot", feed: "orders" });
  });

  it("is closed when it acknowledges nothing of one of its feeds", async () => {
    const bed = current();
    await bed.start({ ackTimeoutMs: 30_000 });
    const silent = await bed.subscribed({ acking: false, feeds: [{ name: "orders" }, { name: "stock" }] });
    bed.tickAfter(29_000);
    silent.send({ t: "ack", feed: "stock", seq: 1 });
    silent.send({ t: "subscribe", feeds: [{ name: "none" }] });
    await silent.got(3);
    expect(bed.gateway.clients).toBe(1);
    bed.tickAfter(1_000);
    expect(await silent.ended()).toEqual({ code: 1008, reason: "no ack" });
  });

  it("gets a snapshot on request after a gap, at most once a tick", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed();
    bed.orders.value++;
    bed.tickAfter(250);
    await screen.got(2);
    screen.send({ t: "resync", feed: "orders" });
    expect((await screen.got(3)).t).toBe("snapshot");
    for (let i = 0; i < 5; i++) screen.send({ t: "resync", feed: "orders" });
    await settled(() => bed.gateway.counters.resyncs === 6);
    expect(bed.gateway.counters.snapshotsSent).toBe(2);
    bed.orders.value++;
    bed.tickAfter(250);
    expect((await screen.got(4)).t).toBe("snapshot");
    expect(screen.frames).toHaveLength(4);
  });

  it("is disconnected when it answers no ping", async () => {
    const bed = current();
    await bed.start({ pingMs: 15_000 });
    const dead = await bed.subscribed();
    dead.pause(); // the peer's process hangs: its socket is open but not read
    bed.tickAfter(15_000);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(bed.gateway.clients).toBe(1);
    bed.tickAfter(15_000);
    expect(bed.gateway.clients).toBe(0);
    expect(bed.gateway.counters.clientsExpelled).toBe(1);
  });
});
