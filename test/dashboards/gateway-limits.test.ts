/**
 * What the gateway refuses: bad frames, floods, silent clients, too many of them, and other sites' pages; and how it
 * closes. Real WebSocket clients on loopback; time is a manual clock and the tests tick by hand.
 */

import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import type { WebSocket } from "ws";
import { MAX_UNSENT_BYTES } from "../../dashboards/live-client.js";
import { encodeClientFrame, type FeedRequest, MAX_SUBSCRIPTIONS } from "../../dashboards/protocol.js";
import { settled, useGatewayBed } from "./gateway-bed.js";

const current = useGatewayBed();

describe("clients that are refused or closed", () => {
  it.each<[string, Buffer | string, number]>([
    ["text", "hello", 1003],
    ["bytes that are not msgpack", Buffer.from([0xc1, 0xff]), 1008],
    ["an ack before subscribing", Buffer.from(encodeClientFrame({ t: "ack", feed: "orders", seq: 1 })), 1008],
    ["a frame that is too large", Buffer.alloc(4_096), 1009],
  ])("%s closes the connection", async (_, data, code) => {
    const bed = current();
    await bed.start();
    const screen = await bed.connect().open();
    screen.sendRaw(data);
    expect((await screen.ended()).code).toBe(code);
    await settled(() => bed.gateway.clients === 0);
  });

  it("an ack of a frame never sent closes the connection", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed();
    screen.send({ t: "ack", feed: "orders", seq: 1_000_000 });
    expect(await screen.ended()).toEqual({ code: 1008, reason: "ack of a frame never sent" });
  });

  it("a page of another version gets a frame of this one before it is closed, so that it reloads", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.connect().open();
    screen.sendRaw(new Packr({ useRecords: false }).pack({ v: 1, t: "subscribe", view: "wall" }));
    expect(await screen.ended()).toEqual({ code: 1008, reason: "another version" });
    expect(screen.frames).toEqual([{ t: "heartbeat" }]);
  });

  it("a flood of frames closes the connection", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed();
    for (let i = 0; i < 160; i++) screen.send({ t: "resync", feed: "orders" });
    expect(await screen.ended()).toEqual({ code: 1008, reason: "too many frames" });
  });

  it.each([
    ["pings", (socket: WebSocket) => socket.ping()],
    ["pongs", (socket: WebSocket) => socket.pong()],
  ])("a flood of %s closes the connection, and no more of them are answered", async (_, send) => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed();
    let pongs = 0;
    screen.raw.on("pong", () => pongs++);
    for (let i = 0; i < 1_000; i++) send(screen.raw);
    expect(await screen.ended()).toEqual({ code: 1008, reason: "too many frames" });
    expect(pongs).toBeLessThanOrEqual(51);
    expect(bed.gateway.counters.clientsExpelled).toBe(1);
  });

  it("a flood of empty fragments, which ws does not report, closes the connection", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed();
    screen.raw.send("", { binary: true, fin: false });
    for (let i = 0; i < 20_000; i++) screen.raw.send("", { fin: false });
    expect(await screen.ended()).toEqual({ code: 1008, reason: "too many bytes" });
  });

  it("a flood of subscriptions that are refused closes the connection: each feed counts as a frame", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.connect().open();
    const feeds = Array.from({ length: MAX_SUBSCRIPTIONS }, (_, i): FeedRequest => ({ name: `x${i}` }));
    for (let i = 0; i < 10; i++) screen.send({ t: "subscribe", feeds });
    expect(await screen.ended()).toEqual({ code: 1008, reason: "too many frames" });
    expect(bed.gateway.counters.subscriptionsRefused).toBe(144);
  });

  it("a client that acknowledges frames without reading them is closed before 1 MiB waits for it in memory", async () => {
    const bed = current();
    await bed.start();
    bed.orders.padding = "x".repeat(100_000);
    const reader = await bed.subscribed();
    const silent = await bed.subscribed({ acking: false });
    silent.pause();
    // What the kernel takes, a few MiB, is not in this process.
    for (let tick = 0; tick < 400 && bed.gateway.clients === 2; tick++) {
      bed.orders.value++;
      bed.tickAfter(250);
      await reader.until(() => reader.last.seq === bed.orders.value + 1);
      silent.raw.pong();
      silent.send({ t: "ack", feed: "orders", seq: reader.last.seq });
    }
    expect(bed.gateway.clients).toBe(1);
    expect(bed.gateway.counters.clientsExpelled).toBe(1);
  });

  it("a client that does not read its refusals is closed, although it answers pings", async () => {
    const bed = current();
    await bed.start();
    bed.orders.padding = "x".repeat(MAX_UNSENT_BYTES);
    const silent = await bed.subscribed({ acking: false, feeds: [{ name: "orders" }] });
    silent.pause();
    const feeds = Array.from({ length: MAX_SUBSCRIPTIONS }, (_, i): FeedRequest => ({ name: `x${i}` }));
    for (let second = 0; second < 100 && bed.gateway.clients === 1; second++) {
      const { framesSent } = bed.gateway.counters;
      // Fills what the kernel takes.
      silent.send({ t: "subscribe", feeds: [{ name: "orders" }] });
      silent.send({ t: "ack", feed: "orders", seq: 1 });
      for (let i = 0; i < 8; i++) silent.send({ t: "subscribe", feeds });
      silent.raw.pong();
      await settled(() => bed.gateway.clients === 0 || bed.gateway.counters.framesSent >= framesSent + 128);
      bed.tickAfter(1_000);
    }
    expect(bed.gateway.clients).toBe(0);
    expect(bed.gateway.counters.clientsExpelled).toBe(1);
  });

  it("a client that never subscribes is closed", async () => {
    const bed = current();
    await bed.start({ subscribeTimeoutMs: 10_000 });
    const idle = await bed.connect().open();
    bed.tickAfter(10_000);
    expect(await idle.ended()).toEqual({ code: 1008, reason: "no subscribe" });
  });

  it("one bad client does not disturb the others", async () => {
    const bed = current();
    await bed.start();
    const good = await bed.subscribed();
    const bad = await bed.subscribed();
    bad.sendRaw("nonsense");
    await bad.ended();
    bed.orders.value++;
    bed.tickAfter(250);
    expect((await good.got(2)).t).toBe("delta");
  });

  it("clients above the limit are refused with 503 until another one leaves", async () => {
    const bed = current();
    await bed.start({ maxClients: 2 });
    const first = await bed.subscribed();
    await bed.subscribed();
    expect(await bed.refusal()).toBe("503");
    first.end();
    await settled(() => bed.gateway.clients === 1);
    await bed.subscribed();
    expect(bed.gateway.counters).toMatchObject({ clientsAccepted: 3, clientsRefused: 1 });
  });

  it("clients above their group's limit are refused with 503; other groups are accepted", async () => {
    const bed = current();
    await bed.start({ maxClients: 10 });
    const first = await bed.subscribed({ group: "a" });
    await bed.subscribed({ group: "a" });
    expect(await bed.refusal({ group: "a" })).toBe("503");
    expect(await bed.refusal({ group: "b" })).toBe("accepted");
    expect(await bed.refusal()).toBe("accepted");
    first.end();
    await settled(() => bed.gateway.clients === 3);
    expect(await bed.refusal({ group: "a" })).toBe("accepted");
  });

  it("an upgrade of another path is refused with 404", async () => {
    const bed = current();
    await bed.start();
    expect(await bed.refusal({ path: "/v1/other" })).toBe("404");
  });

  it("pages of other sites are refused with 403; the server's own page and clients without an origin are accepted", async () => {
    const bed = current();
    await bed.start();
    expect(await bed.refusal({ origin: "https://evil.example" })).toBe("403");
    expect(await bed.refusal({ origin: "null" })).toBe("403");
    expect(await bed.refusal({ origin: `http://${bed.address.replace(/\d+$/, "1")}` })).toBe("403");
    expect(await bed.refusal({ origin: `http://${bed.address}` })).toBe("accepted");
    expect(await bed.refusal()).toBe("accepted");
  });
});

describe("closing the gateway", () => {
  it("closes every connection, waits until all are closed and refuses new ones", async () => {
    const bed = current();
    await bed.start();
    const [a, b] = [await bed.subscribed(), await bed.subscribed()];
    await Promise.all([bed.gateway.close(), bed.gateway.close()]);
    expect((await a.ended()).code).toBe(1001);
    expect((await b.ended()).code).toBe(1001);
    expect(bed.gateway.clients).toBe(0);
    expect(await bed.refusal()).toBe("503");
  });

  it("leaves no socket and no timer, even when a client does not answer", async () => {
    const bed = current();
    const before = process.getActiveResourcesInfo().filter((kind) => kind !== "Immediate").length;
    await bed.start({ tickMs: 5 });
    await bed.subscribed();
    const hung = await bed.subscribed();
    hung.pause();
    await bed.gateway.close();
    await bed.stop();
    await settled(() => process.getActiveResourcesInfo().filter((kind) => kind !== "Immediate").length <= before);
    await bed.start(); // afterEach stops it
  });

  it("ticks by itself until it is closed", async () => {
    const bed = current();
    await bed.start({ tickMs: 5, heartbeatMs: 0 });
    const screen = await bed.subscribed();
    await screen.got(3);
    expect(screen.frames[1]?.t).toBe("heartbeat");
  });
});
