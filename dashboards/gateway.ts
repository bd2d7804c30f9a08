/**
 * Pushes the live view to screens over WebSocket. On every tick each watched view is compared with what was last sent,
 * encoded once, and the same bytes go to all its clients; a view that nobody watches costs nothing. A client that leaves a few
 * frames unacknowledged is skipped and gets one fresh snapshot when it has caught up, so a slow phone holds neither memory nor
 * the others back. Bad frames, dead peers and strangers' web pages are turned away and never raise. It does not promise every
 * intermediate value, only that what a screen shows is one state the engine had; and it does not authenticate: what it shows is
 * for everyone who reaches the port.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type RawData, type WebSocket, WebSocketServer } from "ws";
import type { Clock } from "../engine/kernel/clock.js";
import { MINUTE_MS } from "../engine/kernel/clock.js";
import type { AlertLive, EngineLive, LiveSource, SkuLive } from "./live-source.js";
import {
  type AlertFrame,
  type CellsFrame,
  decodeClientFrame,
  type EngineFrame,
  encodeServerFrame,
  FrameKind,
  LIVE_PATH,
  PROTOCOL_VERSION,
  type RowFrame,
  type ServerFrame,
  VIEW_LIMITS,
  type ViewLimits,
  type ViewName,
} from "./protocol.js";

/** The largest client frame is an ack: about 30 bytes. */
const MAX_CLIENT_FRAME_BYTES = 256;
/** One ack a frame at the fastest useful tick (50 ms) is 20 a second; twice that and some room. */
const MAX_CLIENT_FRAMES_PER_SECOND = 50;
const SWEEP_MS = 1_000;
/** How long a closing client may take to answer before its socket is cut. */
const CLOSE_GRACE_MS = 500;

const CLOSE_GOING_AWAY = 1001;
const CLOSE_UNSUPPORTED_DATA = 1003;
const CLOSE_POLICY_VIOLATION = 1008;

export interface GatewayOptions {
  source: LiveSource;
  /** Real time: paces re-ranking, heartbeats and timeouts. */
  clock: Clock;
  /** How often views are compared and sent, in ms. */
  tickMs: number;
  /** IANA name of the shop's time zone; default Asia/Shanghai. */
  zone?: string;
  /** Overrides of VIEW_LIMITS. */
  views?: Partial<Record<ViewName, Partial<ViewLimits>>>;
  /** Further upgrades are answered 503; default 500. */
  maxClients?: number;
  /** Frames a client may leave unacknowledged before it is skipped; default 4: a second of delay at 250 ms a tick. */
  maxUnackedFrames?: number;
  /** Rows keep their places at least this long, so that a reader can follow them; default 3 s. */
  rerankMs?: number;
  /** A frame is sent at least this often; default 1 s, a third of what a page takes for stale. */
  heartbeatMs?: number;
  /** A peer that answers no ping within this time is dead; default 15 s. */
  pingMs?: number;
  /** A client that acknowledges nothing for this long is closed; default 30 s. */
  ackTimeoutMs?: number;
  /** A client must subscribe within this time; default 10 s. */
  subscribeTimeoutMs?: number;
}

/** Totals since the start, for /metrics. */
export interface GatewayCounters {
  /** Frames encoded: at most one delta or heartbeat, and one snapshot, per view and tick. */
  framesEncoded: number;
  framesSent: number;
  bytesSent: number;
  snapshotsSent: number;
  /** Deltas and heartbeats withheld from clients that were behind. */
  framesSkipped: number;
  resyncs: number;
  clientsAccepted: number;
  /** Upgrades refused: wrong path or origin, or too many clients. */
  clientsRefused: number;
  /** Clients closed for bad frames, floods, or missing subscribe, ack or pong. */
  clientsExpelled: number;
}

export interface Gateway {
  /** For `server.on("upgrade", …)`; answers by itself whatever is not a good request for LIVE_PATH. Never throws. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Compares, encodes and sends now; the gateway's own interval calls it. */
  tick(): void;
  readonly clients: number;
  readonly counters: Readonly<GatewayCounters>;
  /** Ends the timer and every socket; resolves when all are gone. May be repeated. */
  close(): Promise<void>;
}

interface Row {
  id: number;
  revision: number;
  frame: RowFrame;
  /** Units by minute since the epoch. */
  cells: Map<number, number>;
}

interface Changes {
  rows: RowFrame[];
  cells: CellsFrame[];
  gone: number[];
  order: boolean;
  alerts: boolean;
  engine: boolean;
}

const rowFrame = (id: number, { sku, hourUnits, dailyAverage, levels }: SkuLive): RowFrame => [
  id,
  sku,
  hourUnits,
  dailyAverage ?? null,
  levels.sellable,
  levels.reserved,
  levels.committed,
  levels.safety,
  levels.presale,
  levels.display,
];

const alertFrame = (alert: AlertLive): AlertFrame => ({
  id: alert.id,
  sku: alert.sku,
  state: alert.state,
  firedAtMs: alert.firedAtMs,
  clearedAtMs: alert.clearedAtMs ?? null,
  hourUnits: alert.hourUnits,
  dailyAverage: alert.dailyAverage ?? null,
});

const engineFrame = (engine: EngineLive): EngineFrame => ({
  nowMs: Math.floor(engine.nowMs),
  speed: engine.speed,
  commandsPerSecond: Math.round(engine.commandsPerSecond),
  eventsPerSecond: Math.round(engine.eventsPerSecond),
  lagEntries: engine.lagEntries,
  lagMs: Math.round(engine.lagMs),
  scene: engine.scene ?? null,
  gates: engine.gates.map(({ scope, untilMs, actor, reason }) => ({ scope, untilMs, actor, reason })),
});

const sameList = <T>(a: readonly T[], b: readonly T[], same: (x: T, y: T) => boolean): boolean =>
  a.length === b.length && a.every((item, i) => same(item, b[i] as T));
const same = <T>(a: T, b: T): boolean => a === b;
const sameAlert = (a: AlertFrame, b: AlertFrame): boolean =>
  a.id === b.id && a.state === b.state && a.clearedAtMs === b.clearedAtMs && a.firedAtMs === b.firedAtMs;
const sameGate = (a: EngineFrame["gates"][number], b: EngineFrame["gates"][number]): boolean =>
  a.scope === b.scope && a.untilMs === b.untilMs && a.actor === b.actor && a.reason === b.reason;

/** What one view's clients know: the last state sent, its number, and the bytes of its snapshot. */
class ViewFeed {
  seq = 0;
  readonly #view: ViewName;
  readonly #limits: ViewLimits;
  readonly #options: { source: LiveSource; zone: string; rerankMs: number; heartbeatMs: number };
  readonly #rows = new Map<string, Row>();
  #nextId = 1;
  #order: string[] = [];
  #alerts: AlertFrame[] = [];
  #engine: EngineFrame | undefined;
  #lastMinute = 0;
  #rankedAtMs = Number.NEGATIVE_INFINITY;
  #sentAtMs = Number.NEGATIVE_INFINITY;
  #snapshot: Uint8Array | undefined;

  constructor(
    view: ViewName,
    limits: ViewLimits,
    options: { source: LiveSource; zone: string; rerankMs: number; heartbeatMs: number },
  ) {
    this.#view = view;
    this.#limits = limits;
    this.#options = options;
  }

  /** Takes in the engine's present state; the frame that says what changed, or undefined when there is nothing to say. */
  advance(nowMs: number): ServerFrame | undefined {
    const changes = this.#refresh(nowMs);
    const engine = this.#engine as EngineFrame;
    const moved = changes.order || changes.alerts || changes.engine;
    const quiet = !moved && changes.rows.length + changes.cells.length + changes.gone.length === 0;
    if (quiet && nowMs - this.#sentAtMs < this.#options.heartbeatMs) return undefined;
    this.#sentAtMs = nowMs;
    this.seq++;
    this.#snapshot = undefined;
    if (quiet) return { v: PROTOCOL_VERSION, t: FrameKind.heartbeat, seq: this.seq, engine };
    return {
      v: PROTOCOL_VERSION,
      t: FrameKind.delta,
      seq: this.seq,
      lastMinute: this.#lastMinute,
      engine,
      ...(changes.rows.length > 0 && { rows: changes.rows }),
      ...(changes.cells.length > 0 && { cells: changes.cells }),
      ...(changes.order && { order: this.#orderIds() }),
      ...(changes.alerts && { alerts: this.#alerts }),
      ...(changes.gone.length > 0 && { gone: changes.gone }),
    };
  }

  /** The whole state as of frame `seq`; encoded when first asked for. */
  snapshot(encode: (frame: ServerFrame) => Uint8Array): Uint8Array {
    this.#snapshot ??= encode({
      v: PROTOCOL_VERSION,
      t: FrameKind.snapshot,
      seq: this.seq,
      view: this.#view,
      zone: this.#options.zone,
      minutes: this.#limits.minutes,
      lastMinute: this.#lastMinute,
      engine: this.#engine as EngineFrame,
      rows: Array.from(this.#rows.values(), (row) => row.frame),
      order: this.#orderIds(),
      cells: Array.from(this.#rows.values(), (row) => this.#cellsFrame(row.id, row.cells)),
      alerts: this.#alerts,
    });
    return this.#snapshot;
  }

  #refresh(nowMs: number): Changes {
    const { source, rerankMs } = this.#options;
    const changes: Changes = { rows: [], cells: [], gone: [], order: false, alerts: false, engine: false };

    const engine = engineFrame(source.engine());
    const lastMinute = Math.floor(engine.nowMs / MINUTE_MS);
    const before = this.#engine;
    changes.engine =
      before === undefined ||
      lastMinute !== this.#lastMinute ||
      before.speed !== engine.speed ||
      before.scene !== engine.scene ||
      !sameList(before.gates, engine.gates, sameGate);
    this.#engine = engine;
    this.#lastMinute = lastMinute;

    const alerts = source.alerts(this.#limits.alerts).map(alertFrame);
    changes.alerts = !sameList(this.#alerts, alerts, sameAlert);
    if (changes.alerts) this.#alerts = alerts;

    if (nowMs - this.#rankedAtMs >= rerankMs) {
      this.#rankedAtMs = nowMs;
      const order = source.ranked(this.#limits.rows).map(({ sku }) => sku);
      changes.order = !sameList(this.#order, order, same);
      this.#order = order;
    }

    const shown = new Set(this.#order);
    for (const alert of this.#alerts) if (alert.state !== "cleared") shown.add(alert.sku);
    for (const [sku, row] of this.#rows) {
      if (shown.has(sku)) continue;
      this.#rows.delete(sku);
      changes.gone.push(row.id);
    }
    for (const sku of shown) this.#refreshRow(sku, changes);
    return changes;
  }

  #refreshRow(sku: string, changes: Changes): void {
    const live = this.#options.source.sku(sku);
    if (live === undefined) return;
    let row = this.#rows.get(sku);
    if (row?.revision === live.revision) return;
    const known = row !== undefined;
    const frame = rowFrame(row?.id ?? this.#nextId++, live);
    row ??= { id: frame[0], revision: live.revision, frame, cells: new Map() };
    this.#rows.set(sku, row);
    if (!known || !sameList<string | number | null>(row.frame, frame, same)) changes.rows.push(frame);
    row.frame = frame;
    row.revision = live.revision;

    const sinceMinute = this.#lastMinute - this.#limits.minutes + 1;
    const cells = new Map(this.#options.source.panes(sku, sinceMinute));
    const moved = new Map<number, number>();
    for (const [minute, units] of cells) if (row.cells.get(minute) !== units) moved.set(minute, units);
    for (const minute of row.cells.keys()) if (minute >= sinceMinute && !cells.has(minute)) moved.set(minute, 0);
    row.cells = cells;
    if (moved.size > 0) changes.cells.push(this.#cellsFrame(row.id, moved));
  }

  #orderIds(): number[] {
    const ids: number[] = [];
    for (const sku of this.#order) {
      const row = this.#rows.get(sku);
      if (row !== undefined) ids.push(row.id);
    }
    return ids;
  }

  #cellsFrame(id: number, cells: ReadonlyMap<number, number>): CellsFrame {
    const sinceMinute = this.#lastMinute - this.#limits.minutes + 1;
    const frame = [id];
    // A pane may be newer than the shop's clock; its distance is then negative.
    for (const [minute, units] of cells) if (minute >= sinceMinute) frame.push(this.#lastMinute - minute, units);
    return frame;
  }
}

/** One connected screen and what it still owes. */
interface Client {
  socket: WebSocket;
  feed: ViewFeed | undefined;
  connectedAtMs: number;
  /** Numbers of the frames sent and not yet acknowledged, ascending. */
  unacked: number[];
  /** When the oldest of `unacked` was sent, or the last ack came. */
  waitingSinceMs: number;
  owesSnapshot: boolean;
  snapshotSeq: number;
  framesThisSecond: number;
  pingedAtMs: number;
  ponged: boolean;
}

const REFUSALS = { 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable" } as const;
type Refusal = keyof typeof REFUSALS;

function refuse(socket: Duplex, status: Refusal, reason: string): void {
  socket.once("finish", () => socket.destroy()); // the peer may never close its half
  const retry = status === 503 ? "Retry-After: 5\r\n" : "";
  socket.end(
    `HTTP/1.1 ${status} ${REFUSALS[status]}\r\n${retry}Content-Type: text/plain; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(reason)}\r\nConnection: close\r\n\r\n${reason}`,
  );
}

/** A browser names the page's origin; only the page this server itself delivered may listen. */
function strangeOrigin(request: IncomingMessage): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined) return false;
  try {
    return new URL(origin).host !== host?.toLowerCase();
  } catch {
    return true;
  }
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

/** Starts a gateway; it ticks by itself until it is closed, and its timer keeps no process alive. */
export function createGateway(options: GatewayOptions): Gateway {
  const {
    source,
    clock,
    tickMs,
    zone = "Asia/Shanghai",
    views,
    maxClients = 500,
    maxUnackedFrames = 4,
    rerankMs = 3_000,
    heartbeatMs = 1_000,
    pingMs = 15_000,
    ackTimeoutMs = 30_000,
    subscribeTimeoutMs = 10_000,
  } = options;
  const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: MAX_CLIENT_FRAME_BYTES });
  const clients = new Set<Client>();
  const feedOf = (view: ViewName) =>
    new ViewFeed(view, { ...VIEW_LIMITS[view], ...views?.[view] }, { source, zone, rerankMs, heartbeatMs });
  const feeds: Record<ViewName, ViewFeed> = { wall: feedOf("wall"), phone: feedOf("phone") };
  const counters: GatewayCounters = {
    framesEncoded: 0,
    framesSent: 0,
    bytesSent: 0,
    snapshotsSent: 0,
    framesSkipped: 0,
    resyncs: 0,
    clientsAccepted: 0,
    clientsRefused: 0,
    clientsExpelled: 0,
  };
  let sweptAtMs = clock.now();
  let closing: Promise<void> | undefined;

  const encode = (frame: ServerFrame): Uint8Array => {
    counters.framesEncoded++;
    return encodeServerFrame(frame);
  };

  const expel = (client: Client, code: number, reason: string) => {
    if (!clients.delete(client)) return;
    counters.clientsExpelled++;
    const cut = setTimeout(() => client.socket.terminate(), CLOSE_GRACE_MS);
    cut.unref();
    client.socket.once("close", () => clearTimeout(cut));
    client.socket.close(code, reason);
  };

  const send = (client: Client, seq: number, bytes: Uint8Array) => {
    if (client.unacked.length === 0) client.waitingSinceMs = clock.now();
    client.unacked.push(seq);
    counters.framesSent++;
    counters.bytesSent += bytes.byteLength;
    client.socket.send(bytes, { binary: true }, () => {}); // a failed write is followed by `close`
  };

  /** One snapshot per tick at most, and only to a client that has nothing left to read. */
  const offerSnapshot = (client: Client, feed: ViewFeed) => {
    if (client.unacked.length > 0 || client.snapshotSeq === feed.seq) return;
    client.owesSnapshot = false;
    client.snapshotSeq = feed.seq;
    counters.snapshotsSent++;
    send(client, feed.seq, feed.snapshot(encode));
  };

  const subscribe = (client: Client, view: ViewName) => {
    const feed = feeds[view];
    let watched = false;
    for (const other of clients) if (other.feed === feed) watched = true;
    // Nobody ticks an unwatched view, so its state may be old; with no other client, no delta is lost by moving on.
    if (!watched) feed.advance(clock.now());
    client.feed = feed;
    client.owesSnapshot = true;
    offerSnapshot(client, feed);
  };

  const acknowledge = (client: Client, feed: ViewFeed, seq: number) => {
    if (seq > feed.seq) return expel(client, CLOSE_POLICY_VIOLATION, "ack of a frame never sent");
    client.unacked = client.unacked.filter((sent) => sent > seq);
    client.waitingSinceMs = clock.now();
    if (client.owesSnapshot) offerSnapshot(client, feed);
  };

  const receive = (client: Client, data: RawData, isBinary: boolean) => {
    if (!clients.has(client)) return;
    if (!isBinary) return expel(client, CLOSE_UNSUPPORTED_DATA, "binary frames only");
    if (++client.framesThisSecond > MAX_CLIENT_FRAMES_PER_SECOND)
      return expel(client, CLOSE_POLICY_VIOLATION, "too many frames");
    let frame: ReturnType<typeof decodeClientFrame>;
    try {
      frame = decodeClientFrame(bytesOf(data));
    } catch {
      return expel(client, CLOSE_POLICY_VIOLATION, "unreadable frame");
    }
    const { feed } = client;
    if (frame.t === "subscribe") {
      if (feed !== undefined) return expel(client, CLOSE_POLICY_VIOLATION, "already subscribed");
      return subscribe(client, frame.view);
    }
    if (feed === undefined) return expel(client, CLOSE_POLICY_VIOLATION, "subscribe first");
    if (frame.t === "ack") return acknowledge(client, feed, frame.seq);
    counters.resyncs++;
    client.owesSnapshot = true;
    offerSnapshot(client, feed);
  };

  const accept = (socket: WebSocket) => {
    const nowMs = clock.now();
    const client: Client = {
      socket,
      feed: undefined,
      connectedAtMs: nowMs,
      unacked: [],
      waitingSinceMs: nowMs,
      owesSnapshot: false,
      snapshotSeq: -1,
      framesThisSecond: 0,
      pingedAtMs: nowMs,
      ponged: true,
    };
    clients.add(client);
    counters.clientsAccepted++;
    socket.on("message", (data, isBinary) => receive(client, data, isBinary));
    socket.on("pong", () => {
      client.ponged = true;
    });
    socket.on("error", () => {}); // an oversized or broken frame: ws closes by itself, `close` follows
    socket.on("close", () => clients.delete(client));
  };

  const sweep = (nowMs: number) => {
    for (const client of clients) {
      client.framesThisSecond = 0;
      if (client.feed === undefined) {
        if (nowMs - client.connectedAtMs >= subscribeTimeoutMs) expel(client, CLOSE_POLICY_VIOLATION, "no subscribe");
      } else if (client.unacked.length > 0 && nowMs - client.waitingSinceMs >= ackTimeoutMs) {
        expel(client, CLOSE_POLICY_VIOLATION, "no ack");
      }
      if (nowMs - client.pingedAtMs < pingMs || !clients.has(client)) continue;
      if (!client.ponged) {
        clients.delete(client);
        counters.clientsExpelled++;
        client.socket.terminate();
        continue;
      }
      client.ponged = false;
      client.pingedAtMs = nowMs;
      client.socket.ping(() => {});
    }
  };

  const tick = () => {
    const nowMs = clock.now();
    if (nowMs - sweptAtMs >= SWEEP_MS) {
      sweptAtMs = nowMs;
      sweep(nowMs);
    }
    for (const feed of Object.values(feeds)) {
      const watching: Client[] = [];
      for (const client of clients) if (client.feed === feed) watching.push(client);
      if (watching.length === 0) continue;
      const frame = feed.advance(nowMs);
      const bytes = frame === undefined ? undefined : encode(frame);
      for (const client of watching) {
        if (client.owesSnapshot) {
          if (bytes !== undefined) counters.framesSkipped++;
          offerSnapshot(client, feed);
        } else if (bytes !== undefined && client.unacked.length >= maxUnackedFrames) {
          counters.framesSkipped++;
          client.owesSnapshot = true;
        } else if (bytes !== undefined) {
          send(client, feed.seq, bytes);
        }
      }
    }
  };

  const timer = setInterval(tick, tickMs);
  timer.unref();

  const handleUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    const turnAway = (status: Refusal, reason: string) => {
      counters.clientsRefused++;
      refuse(socket, status, reason);
    };
    if (request.url?.split("?", 1)[0] !== LIVE_PATH) return turnAway(404, "no such live view");
    if (strangeOrigin(request)) return turnAway(403, "this page's origin is not this server");
    if (closing !== undefined) return turnAway(503, "closing");
    if (clients.size >= maxClients) return turnAway(503, "too many screens");
    server.handleUpgrade(request, socket, head, accept);
  };

  const shut = async (): Promise<void> => {
    clearInterval(timer);
    const sockets = Array.from(server.clients);
    clients.clear();
    await Promise.all(
      sockets.map(
        (socket) =>
          new Promise<void>((resolve) => {
            const cut = setTimeout(() => socket.terminate(), CLOSE_GRACE_MS);
            socket.once("close", () => {
              clearTimeout(cut);
              resolve();
            });
            socket.close(CLOSE_GOING_AWAY, "server stops");
          }),
      ),
    );
    server.close();
  };

  return {
    handleUpgrade,
    tick,
    get clients() {
      return clients.size;
    },
    counters,
    close() {
      closing ??= shut();
      return closing;
    },
  };
}
