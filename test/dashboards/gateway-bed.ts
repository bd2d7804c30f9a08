/**
 * What the gateway's tests share: a gateway on a loopback port, feeds whose value the test sets, and screens that are
 * real WebSocket clients. Time is a manual clock and the tests tick by hand, so nothing waits for a timer except where
 * a socket must answer.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach } from "vitest";
import { WebSocket } from "ws";
import type { Feed, FeedBody, FeedParameters, FeedRole, FeedState } from "../../dashboards/feed.js";
import { Gateway, type GatewayOptions } from "../../dashboards/gateway.js";
import {
  type BodyFrame,
  type ClientFrame,
  decodeServerFrame,
  encodeClientFrame,
  type FeedRequest,
  LIVE_PATH,
  type ServerFrame,
} from "../../dashboards/protocol.js";
import { ManualClock } from "../../engine/kernel/clock.js";

/**
 * A feed of one value; its bodies name the parameters, too, and are as long as the test needs. A delta is made when the
 * value has changed.
 */
class FakeFeed implements Feed {
  readonly name: string;
  readonly role: FeedRole;
  readonly parameters: Readonly<Record<string, readonly (string | number)[]>>;
  value = 0;
  padding: string | undefined;
  reads = 0;
  opened = 0;

  constructor(name: string, role: FeedRole = "read", parameters: FakeFeed["parameters"] = {}) {
    this.name = name;
    this.role = role;
    this.parameters = parameters;
  }

  open(parameters: FeedParameters): FeedState {
    this.opened++;
    let read: number | undefined;
    const bodyOf = (value: number | undefined): FeedBody => ({
      ...parameters,
      value,
      ...(this.padding !== undefined && { padding: this.padding }),
    });
    return {
      advance: () => {
        this.reads++;
        if (read === this.value) return undefined;
        read = this.value;
        return bodyOf(read);
      },
      snapshot: () => bodyOf(read),
    };
  }
}

interface ScreenOptions {
  acking?: boolean;
  origin?: string;
  group?: string;
  role?: "read" | "admin";
}

/** A screen that keeps every frame; with `acking` it acknowledges each. */
class Screen {
  readonly frames: ServerFrame[] = [];
  readonly bytes: Uint8Array[] = [];
  closed: { code: number; reason: string } | undefined;
  readonly #socket: WebSocket;
  readonly #waiters = new Set<() => void>();

  constructor(url: string, { acking, origin, group, role = "read" }: ScreenOptions) {
    const headers = {
      "x-role": role,
      ...(origin !== undefined && { origin }),
      ...(group !== undefined && { "x-group": group }),
    };
    this.#socket = new WebSocket(url, { perMessageDeflate: false, headers });
    this.#socket.on("message", (data: Buffer) => {
      const frame = decodeServerFrame(data);
      this.bytes.push(data);
      this.frames.push(frame);
      if (acking === true && "seq" in frame) this.send({ t: "ack", feed: frame.feed, seq: frame.seq });
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
  /** The newest frame with a body. */
  get last(): BodyFrame {
    return this.frames.findLast((frame) => "seq" in frame) as BodyFrame;
  }
  ack(): void {
    const { feed, seq } = this.last;
    this.send({ t: "ack", feed, seq });
  }
  async until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise<void>((resolve) => this.#waiters.add(resolve));
  }
  /** The frame of this number, of any kind, counted from 1. */
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

/** A gateway with the feeds `orders`, `stock` (with sizes) and, for admins, `staff`; without heartbeats. */
class GatewayBed {
  readonly orders = new FakeFeed("orders");
  readonly stock = new FakeFeed("stock", "read", { size: ["wall", "phone"], minutes: [60, 30] });
  readonly staff = new FakeFeed("staff", "admin");
  readonly clock = new ManualClock(1_000_000);
  readonly #screens: Screen[] = [];
  #gateway: Gateway | undefined;
  #server: Server | undefined;

  get gateway(): Gateway {
    return this.#gateway as Gateway;
  }

  get address(): string {
    const server = this.#server as Server;
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async start(options: Partial<GatewayOptions> = {}): Promise<void> {
    const gateway = new Gateway({
      feeds: [this.orders, this.stock, this.staff],
      clock: this.clock,
      tickMs: 3_600_000,
      heartbeatMs: 3_600_000,
      ...options,
    });
    const server = createServer((_, response) => response.end());
    this.#gateway = gateway;
    this.#server = server;
    server.on("upgrade", (request, socket, head) =>
      gateway.handleUpgrade(request, socket, head, {
        group: request.headers["x-group"]?.toString(),
        may: (role) => role === "read" || role === request.headers["x-role"],
      }),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  }

  async stop(): Promise<void> {
    for (const screen of this.#screens) screen.end();
    await this.#gateway?.close();
    await new Promise<void>((resolve) => {
      if (this.#server === undefined) resolve();
      else this.#server.close(() => resolve());
    });
  }

  connect(options: ScreenOptions & { path?: string } = {}): Screen {
    const screen = new Screen(`ws://${this.address}${options.path ?? LIVE_PATH}`, options);
    this.#screens.push(screen);
    return screen;
  }

  /** A screen with the first snapshots of its feeds; it acknowledges every frame unless `acking` is false. */
  async subscribed(options: ScreenOptions & { feeds?: readonly FeedRequest[] } = {}): Promise<Screen> {
    const feeds = options.feeds ?? [{ name: "orders" }];
    const screen = await this.connect({ acking: true, ...options }).open();
    screen.send({ t: "subscribe", feeds });
    await screen.got(feeds.length);
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
