/**
 * The gateway against real WebSocket clients on loopback and a source of the test's making. Time is a manual clock
 * and the tests tick by hand, so nothing here waits for a timer except where a socket must answer.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { Gateway, type GatewayOptions } from "../../dashboards/gateway.js";
import type { AlertLive, EngineLive, LiveSource, SkuLive } from "../../dashboards/live-source.js";
import {
  type ClientFrame,
  type DeltaFrame,
  decodeServerFrame,
  encodeClientFrame,
  FrameKind,
  LIVE_PATH,
  type ServerFrame,
  type SnapshotFrame,
} from "../../dashboards/protocol.js";
import { applyFrame, type LiveModel, rankedRows } from "../../dashboards/web/live-model.js";
import { ManualClock, MINUTE_MS } from "../../engine/kernel/clock.js";

const MINUTE = 29_695_200;

/** A shop of a few SKUs whose figures the test sets. */
class FakeSource implements LiveSource {
  readonly skus = new Map<string, SkuLive>();
  readonly minutes = new Map<string, Map<number, number>>();
  alertList: AlertLive[] = [];
  state: EngineLive = {
    nowMs: MINUTE * MINUTE_MS + 5_000,
    speed: 1,
    commandsPerSecond: 10,
    eventsPerSecond: 10,
    lagEntries: 0,
    lagMs: 0,
    scene: undefined,
    breakers: [],
  };
  reads = 0;

  sell(sku: string, units: number, minute = MINUTE): void {
    const before = this.skus.get(sku);
    const panes = this.minutes.get(sku) ?? new Map<number, number>();
    this.minutes.set(sku, panes.set(minute, (panes.get(minute) ?? 0) + units));
    this.skus.set(sku, {
      sku,
      revision: (before?.revision ?? 0) + 1,
      hourUnits: (before?.hourUnits ?? 0) + units,
      dailyAverage: before?.dailyAverage,
      levels: {
        sellable: (before?.levels.sellable ?? 1_000) - units,
        reserved: (before?.levels.reserved ?? 0) + units,
        committed: 0,
        safety: 10,
        presale: 0,
        display: 900,
      },
    });
  }

  engine(): EngineLive {
    this.reads++;
    return this.state;
  }
  ranked(limit: number): SkuLive[] {
    return Array.from(this.skus.values())
      .sort((a, b) => b.hourUnits - a.hourUnits || (a.sku < b.sku ? -1 : 1))
      .slice(0, limit);
  }
  sku(sku: string): SkuLive | undefined {
    return this.skus.get(sku);
  }
  panes(sku: string, sinceMinute: number): Array<[number, number]> {
    return Array.from(this.minutes.get(sku) ?? []).filter(([minute]) => minute >= sinceMinute);
  }
  alerts(limit: number): AlertLive[] {
    return this.alertList.slice(0, limit);
  }
}

/** A screen that remembers what it got; it acknowledges only when told to, or always. */
class Screen {
  readonly frames: ServerFrame[] = [];
  readonly bytes: Uint8Array[] = [];
  closed: { code: number; reason: string } | undefined;
  readonly #socket: WebSocket;
  readonly #waiters = new Set<() => void>();

  constructor(url: string, options: { acking?: boolean; origin?: string } = {}) {
    this.#socket = new WebSocket(url, {
      perMessageDeflate: false,
      ...(options.origin !== undefined && { headers: { origin: options.origin } }),
    });
    this.#socket.on("message", (data: Buffer) => {
      const frame = decodeServerFrame(data);
      this.bytes.push(data);
      this.frames.push(frame);
      if (options.acking === true) this.send({ t: "ack", seq: frame.seq });
      this.#wake();
    });
    this.#socket.on("error", () => {});
    this.#socket.on("close", (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.#wake();
    });
  }

  /** Sends what no screen does. */
  get raw(): WebSocket {
    return this.#socket;
  }

  async open(): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#socket.once("open", resolve);
      this.#socket.once("error", reject);
    });
    return this;
  }
  send(frame: ClientFrame): void {
    this.#socket.send(encodeClientFrame(frame));
  }
  sendRaw(data: Buffer | string): void {
    this.#socket.send(data);
  }
  end(): void {
    this.#socket.terminate();
  }
  pause(): void {
    this.#socket.pause();
  }
  get last(): ServerFrame {
    return this.frames.at(-1) as ServerFrame;
  }
  async until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise<void>((resolve) => this.#waiters.add(resolve));
  }
  async got(frames: number): Promise<ServerFrame> {
    await this.until(() => this.frames.length >= frames);
    return this.frames[frames - 1] as ServerFrame;
  }
  async ended(): Promise<{ code: number; reason: string }> {
    await this.until(() => this.closed !== undefined);
    return this.closed as { code: number; reason: string };
  }
  #wake(): void {
    for (const waiter of this.#waiters) waiter();
    this.#waiters.clear();
  }
}

let source: FakeSource;
let clock: ManualClock;
let server: Server;
let gateway: Gateway;
let screens: Screen[];

const address = () => `127.0.0.1:${(server.address() as AddressInfo).port}`;

async function start(options: Partial<GatewayOptions> = {}): Promise<void> {
  gateway = new Gateway({ source, clock, tickMs: 3_600_000, ...options });
  server = createServer((_, response) => response.end());
  server.on("upgrade", gateway.handleUpgrade);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
}

function connect(options: { acking?: boolean; origin?: string; path?: string } = {}): Screen {
  const screen = new Screen(`ws://${address()}${options.path ?? LIVE_PATH}`, options);
  screens.push(screen);
  return screen;
}

async function subscribed(options: { acking?: boolean; view?: "wall" | "phone" } = {}): Promise<Screen> {
  const screen = await connect({ acking: true, ...options }).open();
  screen.send({ t: "subscribe", view: options.view ?? "wall" });
  await screen.got(1);
  return screen;
}

/** The status of a refused upgrade. */
const refusal = (options: { origin?: string; path?: string }) =>
  connect(options)
    .open()
    .then(
      () => "accepted",
      (error: Error) => error.message.match(/\d{3}/)?.[0],
    );

/** Ticks after `ms` have passed. */
function tickAfter(ms: number): void {
  clock.moveTo(clock.now() + ms);
  gateway.tick();
}

/** Waits until the gateway has taken in what clients have sent. */
async function settled(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}

beforeEach(() => {
  source = new FakeSource();
  source.sell("A", 30);
  source.sell("B", 20);
  source.sell("C", 10);
  clock = new ManualClock(1_000_000);
  screens = [];
});

afterEach(async () => {
  for (const screen of screens) screen.end();
  await gateway.close();
  await new Promise((resolve) => server.close(resolve));
});

describe("what a screen gets", () => {
  it("first a snapshot: ranked rows with balances, minutes, alerts and the engine", async () => {
    await start({ zone: "Asia/Tokyo" });
    source.sell("A", 5, MINUTE - 3);
    source.alertList = [
      {
        id: "a1",
        sku: "A",
        state: "fired",
        firedAtMs: 1,
        clearedAtMs: undefined,
        hourUnits: 30,
        dailyAverage: undefined,
      },
    ];
    const screen = await subscribed();
    const snapshot = screen.frames[0] as SnapshotFrame;
    expect(snapshot).toMatchObject({
      t: FrameKind.snapshot,
      view: "wall",
      zone: "Asia/Tokyo",
      minutes: 60,
      lastMinute: MINUTE,
    });
    expect(snapshot.engine).toMatchObject({ nowMs: source.state.nowMs, scene: null, gates: [] });
    expect(snapshot.alerts).toMatchObject([{ id: "a1", clearedAtMs: null, dailyAverage: null }]);
    const model = applyFrame(undefined, snapshot).model as LiveModel;
    expect(rankedRows(model).map(({ sku, hourUnits }) => [sku, hourUnits])).toEqual([
      ["A", 35],
      ["B", 20],
      ["C", 10],
    ]);
    expect(model.cells.get(model.rowOf.get("A")?.id as number)).toEqual(
      new Map([
        [MINUTE, 30],
        [MINUTE - 3, 5],
      ]),
    );
  });

  it("then only what changed, as absolute values", async () => {
    await start();
    const screen = await subscribed();
    source.sell("B", 7);
    tickAfter(250);
    const delta = (await screen.got(2)) as DeltaFrame;
    expect(delta.t).toBe(FrameKind.delta);
    expect(delta.seq).toBe((screen.frames[0] as ServerFrame).seq + 1);
    expect(delta.rows).toEqual([[expect.any(Number), "B", 27, null, 973, 27, 0, 10, 0, 900]]);
    expect(delta.cells).toEqual([[delta.rows?.[0]?.[0], 0, 27]]);
    expect(delta).not.toHaveProperty("order");
    expect(delta).not.toHaveProperty("alerts");
  });

  it("a heartbeat when nothing changed for a while, and silence before", async () => {
    await start({ heartbeatMs: 1_000 });
    const screen = await subscribed();
    for (let i = 0; i < 4; i++) tickAfter(250);
    await screen.got(2);
    expect(screen.frames.map(({ t }) => t)).toEqual([FrameKind.snapshot, FrameKind.heartbeat]);
  });

  it("a delta with the new minute when the shop's minute turns", async () => {
    await start();
    const screen = await subscribed();
    source.state = { ...source.state, nowMs: source.state.nowMs + MINUTE_MS };
    tickAfter(250);
    expect(await screen.got(2)).toMatchObject({ t: FrameKind.delta, lastMinute: MINUTE + 1 });
  });

  it("a delta as soon as a gate of the breaker opens", async () => {
    await start();
    const screen = await subscribed();
    const breaker = { scope: "shop", untilMs: 9, actor: "system", reason: "0.8%" };
    source.state = { ...source.state, breakers: [breaker] };
    tickAfter(250);
    expect(((await screen.got(2)) as DeltaFrame).engine.gates).toEqual([breaker]);
  });

  it("rows keep their places until it is time to rank again; then the order comes as ids", async () => {
    await start({ rerankMs: 3_000 });
    const screen = await subscribed();
    const ids = (screen.frames[0] as SnapshotFrame).order;
    source.sell("C", 100);
    tickAfter(1_000);
    expect(await screen.got(2)).not.toHaveProperty("order");
    tickAfter(2_000);
    expect(((await screen.got(3)) as DeltaFrame).order).toEqual([ids[2], ids[0], ids[1]]);
  });

  it("the figures of an alerted SKU though it is not ranked, and its row is gone when the alert clears", async () => {
    await start({ views: { wall: { rows: 1 } } });
    const alert: AlertLive = {
      id: "a1",
      sku: "C",
      state: "fired",
      firedAtMs: 1,
      clearedAtMs: undefined,
      hourUnits: 10,
      dailyAverage: 2,
    };
    source.alertList = [alert];
    const screen = await subscribed();
    const snapshot = screen.frames[0] as SnapshotFrame;
    expect(snapshot.order).toHaveLength(1);
    expect(snapshot.rows.map(([, sku]) => sku)).toEqual(["A", "C"]);
    source.alertList = [{ ...alert, state: "cleared", clearedAtMs: 2 }];
    tickAfter(250);
    const delta = (await screen.got(2)) as DeltaFrame;
    expect(delta.gone).toEqual([snapshot.rows[1]?.[0]]);
    expect(delta.alerts).toMatchObject([{ id: "a1", state: "cleared", clearedAtMs: 2 }]);
  });

  it("the rows and minutes of its own view", async () => {
    for (let i = 0; i < 80; i++) source.sell(`S${i}`, 100 + i);
    await start();
    const [wall, phone] = [await subscribed(), await subscribed({ view: "phone" })];
    expect(wall.frames[0]).toMatchObject({ view: "wall", minutes: 60 });
    expect((wall.frames[0] as SnapshotFrame).order).toHaveLength(60);
    expect(phone.frames[0]).toMatchObject({ view: "phone", minutes: 30 });
    expect((phone.frames[0] as SnapshotFrame).order).toHaveLength(20);
  });

  it("a pane newer than the shop's clock, in its place once the clock gets there", async () => {
    await start();
    const screen = await subscribed();
    source.sell("A", 4, MINUTE + 1);
    tickAfter(250);
    let model: LiveModel | undefined;
    await screen.got(2);
    for (const frame of screen.frames) model = applyFrame(model, frame).model;
    expect(model?.cells.get(model.rowOf.get("A")?.id as number)?.get(MINUTE + 1)).toBe(4);
  });

  it("following deltas gives the same state as a fresh snapshot", async () => {
    await start({ rerankMs: 500, heartbeatMs: 0 });
    const screen = await subscribed();
    for (let step = 0; step < 40; step++) {
      source.sell(`S${(step * 7) % 11}`, 1 + ((step * 13) % 29), MINUTE + Math.floor(step / 8) - 2);
      if (step % 8 === 7) source.state = { ...source.state, nowMs: source.state.nowMs + MINUTE_MS };
      tickAfter(250);
      await screen.got(step + 2);
    }
    let followed: LiveModel | undefined;
    for (const frame of screen.frames) {
      const { model, gap } = applyFrame(followed, frame);
      expect(gap).toBe(false);
      followed = model;
    }
    const fresh = await subscribed();
    const { revision: _, ...wanted } = applyFrame(undefined, fresh.frames[0] as ServerFrame).model as LiveModel;
    expect(followed).toMatchObject(wanted);
  });
});

describe("the cost of many screens", () => {
  it("encodes once per view and tick and gives all its clients the same bytes", async () => {
    await start();
    const walls = [await subscribed(), await subscribed(), await subscribed()];
    const phone = await subscribed({ view: "phone" });
    expect(gateway.clients).toBe(4);
    const before = gateway.counters.framesEncoded;
    source.sell("A", 1);
    tickAfter(250);
    await Promise.all([...walls, phone].map((screen) => screen.got(2)));
    expect(gateway.counters.framesEncoded - before).toBe(2);
    for (const wall of walls) expect(wall.bytes[1]).toEqual(walls[0]?.bytes[1]);
  });

  it("snapshots of one tick are encoded once too", async () => {
    await start();
    await subscribed();
    await subscribed();
    expect(gateway.counters).toMatchObject({ framesEncoded: 1, snapshotsSent: 2 });
  });

  it("a view that nobody watches is not even read", async () => {
    await start();
    const screen = await connect().open();
    tickAfter(250);
    expect(source.reads).toBe(0);
    screen.send({ t: "subscribe", view: "wall" });
    await screen.got(1);
    expect(source.reads).toBe(1);
  });

  it("who comes after a quiet time sees the present, not what the last one left", async () => {
    await start();
    const first = await subscribed();
    first.end();
    await settled(() => gateway.clients === 0);
    source.sell("A", 500);
    tickAfter(60_000);
    const second = await subscribed();
    expect((second.frames[0] as SnapshotFrame).rows[0]?.slice(1, 3)).toEqual(["A", 530]);
  });
});

describe("a screen that falls behind", () => {
  it("is skipped after a few unacknowledged frames and gets one fresh snapshot when it has caught up", async () => {
    await start({ maxUnackedFrames: 3 });
    const slow = await subscribed({ acking: false });
    const fast = await subscribed();
    for (let i = 0; i < 10; i++) {
      source.sell("A", 1);
      tickAfter(250);
      await fast.got(i + 2);
    }
    await slow.got(3); // the snapshot and two deltas
    expect(gateway.counters.framesSkipped).toBe(8);
    slow.send({ t: "ack", seq: slow.last.seq });
    const fresh = (await slow.got(4)) as SnapshotFrame;
    expect(fresh.t).toBe(FrameKind.snapshot);
    expect(fresh.seq).toBe(fast.last.seq);
    expect(fresh.rows[0]?.slice(1, 3)).toEqual(["A", 40]);

    slow.send({ t: "ack", seq: fresh.seq });
    source.sell("A", 1);
    tickAfter(250);
    expect(await slow.got(5)).toMatchObject({ t: FrameKind.delta, seq: fresh.seq + 1 });
    expect(slow.frames).toHaveLength(5);
  });

  it("is closed when it acknowledges nothing at all", async () => {
    await start({ ackTimeoutMs: 30_000 });
    const mute = await subscribed({ acking: false });
    tickAfter(29_000);
    expect(gateway.clients).toBe(1);
    tickAfter(1_000);
    expect(await mute.ended()).toEqual({ code: 1008, reason: "no ack" });
  });

  it("may ask for a snapshot after a hole, once a tick", async () => {
    await start();
    const screen = await subscribed();
    source.sell("A", 1);
    tickAfter(250);
    await screen.got(2);
    screen.send({ t: "resync" });
    expect((await screen.got(3)).t).toBe(FrameKind.snapshot);
    for (let i = 0; i < 5; i++) screen.send({ t: "resync" });
    await settled(() => gateway.counters.resyncs === 6);
    expect(gateway.counters.snapshotsSent).toBe(2);
    source.sell("A", 1);
    tickAfter(250);
    expect((await screen.got(4)).t).toBe(FrameKind.snapshot);
    expect(screen.frames).toHaveLength(4);
  });

  it("is cut when it answers no ping", async () => {
    await start({ pingMs: 15_000 });
    const dead = await subscribed();
    dead.pause(); // the peer's process hangs: its socket is open and nobody reads
    tickAfter(15_000);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(gateway.clients).toBe(1);
    tickAfter(15_000);
    expect(gateway.clients).toBe(0);
    expect(gateway.counters.clientsExpelled).toBe(1);
  });
});

describe("what is turned away", () => {
  it.each<[string, Buffer | string, number]>([
    ["text", "hello", 1003],
    ["bytes that are no msgpack", Buffer.from([0xc1, 0xff]), 1008],
    ["an ack before subscribing", Buffer.from(encodeClientFrame({ t: "ack", seq: 1 })), 1008],
    ["a frame that is too large", Buffer.alloc(4_096), 1009],
  ])("%s closes the connection", async (_, data, code) => {
    await start();
    const screen = await connect().open();
    screen.sendRaw(data);
    expect((await screen.ended()).code).toBe(code);
    await settled(() => gateway.clients === 0);
  });

  it("a second subscription, and an ack of what was never sent", async () => {
    await start();
    const [greedy, liar] = [await subscribed(), await subscribed()];
    greedy.send({ t: "subscribe", view: "phone" });
    liar.send({ t: "ack", seq: 1_000_000 });
    expect((await greedy.ended()).code).toBe(1008);
    expect((await liar.ended()).code).toBe(1008);
  });

  it("a flood of frames", async () => {
    await start();
    const screen = await subscribed();
    for (let i = 0; i < 60; i++) screen.send({ t: "resync" });
    expect(await screen.ended()).toEqual({ code: 1008, reason: "too many frames" });
  });

  it.each([
    ["pings", (socket: WebSocket) => socket.ping()],
    ["pongs", (socket: WebSocket) => socket.pong()],
  ])("a flood of %s, of which nobody answers what came after the close", async (_, send) => {
    await start();
    const screen = await subscribed();
    let pongs = 0;
    screen.raw.on("pong", () => pongs++);
    for (let i = 0; i < 1_000; i++) send(screen.raw);
    expect(await screen.ended()).toEqual({ code: 1008, reason: "too many frames" });
    expect(pongs).toBeLessThanOrEqual(51);
    expect(gateway.counters.clientsExpelled).toBe(1);
  });

  it("a flood of empty fragments, which no one is told of", async () => {
    await start();
    const screen = await subscribed();
    screen.raw.send("", { binary: true, fin: false });
    for (let i = 0; i < 20_000; i++) screen.raw.send("", { fin: false });
    expect(await screen.ended()).toEqual({ code: 1008, reason: "too many bytes" });
  });

  it("a client that never subscribes", async () => {
    await start({ subscribeTimeoutMs: 10_000 });
    const idle = await connect().open();
    tickAfter(10_000);
    expect(await idle.ended()).toEqual({ code: 1008, reason: "no subscribe" });
  });

  it("one bad client does not disturb the others", async () => {
    await start();
    const good = await subscribed();
    const bad = await subscribed();
    bad.sendRaw("nonsense");
    await bad.ended();
    source.sell("A", 1);
    tickAfter(250);
    expect((await good.got(2)).t).toBe(FrameKind.delta);
  });

  it("more clients than the limit, with 503 before the upgrade; a place that frees up can be taken", async () => {
    await start({ maxClients: 2 });
    const first = await subscribed();
    await subscribed();
    expect(await refusal({})).toBe("503");
    first.end();
    await settled(() => gateway.clients === 1);
    await subscribed();
    expect(gateway.counters).toMatchObject({ clientsAccepted: 3, clientsRefused: 1 });
  });

  it("another path", async () => {
    await start();
    expect(await refusal({ path: "/v1/other" })).toBe("404");
  });

  it("the pages of other sites; the page of this server and clients that are no browser may come", async () => {
    await start();
    expect(await refusal({ origin: "https://evil.example" })).toBe("403");
    expect(await refusal({ origin: "null" })).toBe("403");
    expect(await refusal({ origin: `http://${address().replace(/\d+$/, "1")}` })).toBe("403");
    expect(await refusal({ origin: `http://${address()}` })).toBe("accepted");
    expect(await refusal({})).toBe("accepted");
  });
});

describe("the end", () => {
  it("tells every client, waits until all are gone and takes no more", async () => {
    await start();
    const [a, b] = [await subscribed(), await subscribed()];
    await Promise.all([gateway.close(), gateway.close()]);
    expect((await a.ended()).code).toBe(1001);
    expect((await b.ended()).code).toBe(1001);
    expect(gateway.clients).toBe(0);
    expect(await refusal({})).toBe("503");
  });

  it("leaves no socket and no timer behind, even when a client does not answer", async () => {
    const before = process.getActiveResourcesInfo().filter((kind) => kind !== "Immediate").length;
    await start({ tickMs: 5 });
    await subscribed();
    const hung = await subscribed();
    hung.pause();
    await gateway.close();
    for (const screen of screens) screen.end();
    await new Promise((resolve) => server.close(resolve));
    await settled(() => process.getActiveResourcesInfo().filter((kind) => kind !== "Immediate").length <= before);
    await start(); // afterEach closes it
  });

  it("ticks by itself while it runs", async () => {
    await start({ tickMs: 5, heartbeatMs: 0 });
    const screen = await subscribed();
    await screen.got(3);
    expect(screen.frames[1]?.t).toBe(FrameKind.heartbeat);
  });
});
