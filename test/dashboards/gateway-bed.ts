/**
 * What the gateway's tests share: a gateway on a loopback port, a source whose figures the test sets, and screens that
 * are real WebSocket clients. Time is a manual clock and the tests tick by hand, so nothing waits for a timer except
 * where a socket must answer.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach } from "vitest";
import { WebSocket } from "ws";
import { Gateway, type GatewayOptions } from "../../dashboards/gateway.js";
import type { AlertLive, EngineLive, LiveSource, SkuLive } from "../../dashboards/live-source.js";
import {
  type ClientFrame,
  decodeServerFrame,
  encodeClientFrame,
  LIVE_PATH,
  type ServerFrame,
} from "../../dashboards/protocol.js";
import { ManualClock, MINUTE_MS } from "../../engine/kernel/clock.js";

export const MINUTE = 29_695_200;

/** A few SKUs whose figures the test sets. */
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

interface ScreenOptions {
  acking?: boolean;
  origin?: string;
  group?: string;
}

/** A screen that keeps every frame; with `acking` it acknowledges each. */
class Screen {
  readonly frames: ServerFrame[] = [];
  readonly bytes: Uint8Array[] = [];
  closed: { code: number; reason: string } | undefined;
  readonly #socket: WebSocket;
  readonly #waiters = new Set<() => void>();

  constructor(url: string, { acking, origin, group }: ScreenOptions) {
    const headers = { ...(origin !== undefined && { origin }), ...(group !== undefined && { "x-group": group }) };
    this.#socket = new WebSocket(url, { perMessageDeflate: false, headers });
    this.#socket.on("message", (data: Buffer) => {
      const frame = decodeServerFrame(data);
      this.bytes.push(data);
      this.frames.push(frame);
      if (acking === true) this.send({ t: "ack", seq: frame.seq });
      this.#wake();
    });
    this.#socket.on("error", () => {});
    this.#socket.on("close", (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.#wake();
    });
  }

  /** The socket itself, to send what no screen sends. */
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

/** A gateway in front of a source with the SKUs A (30 units in the last hour), B (20) and C (10). */
class GatewayBed {
  readonly source = new FakeSource();
  readonly clock = new ManualClock(1_000_000);
  readonly #screens: Screen[] = [];
  #gateway: Gateway | undefined;
  #server: Server | undefined;

  constructor() {
    this.source.sell("A", 30);
    this.source.sell("B", 20);
    this.source.sell("C", 10);
  }

  get gateway(): Gateway {
    return this.#gateway as Gateway;
  }

  get address(): string {
    const server = this.#server as Server;
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async start(options: Partial<GatewayOptions> = {}): Promise<void> {
    const gateway = new Gateway({ source: this.source, clock: this.clock, tickMs: 3_600_000, ...options });
    const server = createServer((_, response) => response.end());
    this.#gateway = gateway;
    this.#server = server;
    server.on("upgrade", (request, socket, head) =>
      gateway.handleUpgrade(request, socket, head, request.headers["x-group"]?.toString()),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  }

  async stop(): Promise<void> {
    for (const screen of this.#screens) screen.end();
    await this.gateway.close();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  connect(options: ScreenOptions & { path?: string } = {}): Screen {
    const screen = new Screen(`ws://${this.address}${options.path ?? LIVE_PATH}`, options);
    this.#screens.push(screen);
    return screen;
  }

  /** A screen with its first snapshot; it acknowledges every frame unless `acking` is false. */
  async subscribed(options: ScreenOptions & { view?: "wall" | "phone" } = {}): Promise<Screen> {
    const screen = await this.connect({ acking: true, ...options }).open();
    screen.send({ t: "subscribe", view: options.view ?? "wall" });
    await screen.got(1);
    return screen;
  }

  /** The status of a refused upgrade, or `accepted`. */
  async refusal(options: ScreenOptions & { path?: string } = {}): Promise<string | undefined> {
    try {
      await this.connect(options).open();
      return "accepted";
    } catch (error) {
      return (error as Error).message.match(/\d{3}/)?.[0];
    }
  }

  /** Ticks after `ms` have passed. */
  tickAfter(ms: number): void {
    this.clock.moveTo(this.clock.now() + ms);
    this.gateway.tick();
  }
}

/** Waits until the gateway has processed what clients have sent. */
export async function settled(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}

/** A fresh bed for every test, stopped after it. The test starts it. */
export function useGatewayBed(): () => GatewayBed {
  let bed: GatewayBed;
  beforeEach(() => {
    bed = new GatewayBed();
  });
  afterEach(() => bed.stop());
  return () => bed;
}
