/**
 * The frames between the gateway and a screen: msgpack in binary WebSocket messages, one version number in each.
 * Every value in a frame is absolute, so applying the same frame twice, or a later one without an earlier one, never
 * makes a figure drift. Frames of one view are numbered without gaps. A screen acknowledges every frame that it
 * receives, because its acks are the only back-pressure; after a gap it asks for a `resync`. Shared by the server and
 * the browser: nothing here may import from Node. What a client sends is checked field by field; of what the gateway
 * sends only the version, the number and the kind are checked.
 */
import { Packr } from "msgpackr";

/** Raised whenever a frame changes its meaning; a page that meets another version reloads itself. */
export const PROTOCOL_VERSION = 1;

/** Where the gateway listens. */
export const LIVE_PATH = "/v1/live";

export type ViewName = "wall" | "phone";

/** How much of the engine a view shows. */
export interface ViewLimits {
  /** Ranked SKUs. */
  rows: number;
  /** Heatmap columns; the newest is the minute of the shop's time. */
  minutes: number;
  /** Alerts, open and cleared together. */
  alerts: number;
}

export const VIEW_LIMITS: Readonly<Record<ViewName, Readonly<ViewLimits>>> = {
  wall: { rows: 60, minutes: 60, alerts: 120 },
  phone: { rows: 20, minutes: 30, alerts: 60 },
};

export const FrameKind = { snapshot: 1, delta: 2, heartbeat: 3 } as const;

/** An open breaker: new orders in its scope are refused. */
export interface BreakerFrame {
  /** `shop`, `location:X` or `sku:X`. */
  scope: string;
  untilMs: number;
  actor: string;
  reason: string;
}

/** The engine as a whole; travels in every frame. Rates are per real second, times in milliseconds. */
export interface EngineFrame {
  nowMs: number;
  speed: number;
  commandsPerSecond: number;
  eventsPerSecond: number;
  lagEntries: number;
  lagMs: number;
  scene: string | null;
  /** The open breakers. The name `gates` is part of protocol version 1. */
  gates: readonly BreakerFrame[];
}

/** One SKU's figures in units; `dailyAverage` is null in cold start. The id is the SKU's row in this view. */
export type RowFrame = readonly [
  id: number,
  sku: string,
  hourUnits: number,
  dailyAverage: number | null,
  sellable: number,
  reserved: number,
  committed: number,
  safety: number,
  presale: number,
  display: number,
];

/** Panes of one row: its id, then pairs of (minutes before the frame's `lastMinute`, units). */
export type CellsFrame = readonly number[];

/** `hourUnits` and `dailyAverage` as they were when the alert fired. */
export interface AlertFrame {
  id: string;
  sku: string;
  state: "fired" | "acknowledged" | "cleared";
  firedAtMs: number;
  clearedAtMs: number | null;
  hourUnits: number;
  dailyAverage: number | null;
}

/** Everything a view shows; replaces all that was received before. */
export interface SnapshotFrame {
  v: number;
  t: typeof FrameKind.snapshot;
  seq: number;
  view: ViewName;
  /** IANA name of the shop's time zone. */
  zone: string;
  minutes: number;
  /** The newest heatmap column, in minutes since the epoch. */
  lastMinute: number;
  engine: EngineFrame;
  /** The ranked SKUs and those with an open alert. */
  rows: readonly RowFrame[];
  /** Ids of the ranked rows, hottest first. */
  order: readonly number[];
  cells: readonly CellsFrame[];
  alerts: readonly AlertFrame[];
}

/** What changed since the frame before: whole rows, whole cells, and the whole order or alert list if it changed. */
export interface DeltaFrame {
  v: number;
  t: typeof FrameKind.delta;
  seq: number;
  lastMinute: number;
  engine: EngineFrame;
  rows?: readonly RowFrame[];
  cells?: readonly CellsFrame[];
  order?: readonly number[];
  alerts?: readonly AlertFrame[];
  /** Ids of removed rows. The name `gone` is part of protocol version 1. */
  gone?: readonly number[];
}

/** Only the engine's figures have changed; shows that the connection works. */
export interface HeartbeatFrame {
  v: number;
  t: typeof FrameKind.heartbeat;
  seq: number;
  engine: EngineFrame;
}

export type ServerFrame = SnapshotFrame | DeltaFrame | HeartbeatFrame;

/** `ack` confirms every frame up to `seq`; one connection subscribes once. */
export type ClientFrame = { t: "subscribe"; view: ViewName } | { t: "ack"; seq: number } | { t: "resync" };

/** The frame cannot be read: it has another version or is malformed. */
export class FrameError extends Error {
  override readonly name = "FrameError";
  readonly code: "malformed" | "other_version";

  constructor(code: "malformed" | "other_version", message: string) {
    super(message);
    this.code = code;
  }
}

// Plain maps instead of msgpackr's records: records compile readers at run time, which a page's CSP forbids.
const packr = new Packr({ useRecords: false });

/** What a WebSocket takes: never shared memory. */
type Bytes = Uint8Array<ArrayBuffer>;

function unpack(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch {
    throw new FrameError("malformed", "not msgpack");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new FrameError("malformed", "not a frame");
  const frame = value as Record<string, unknown>;
  if (!Number.isSafeInteger(frame["v"])) throw new FrameError("malformed", "not a frame");
  if (frame["v"] !== PROTOCOL_VERSION) throw new FrameError("other_version", `version ${String(frame["v"])}`);
  return frame;
}

/** The frame's bytes; the caller may send the same bytes to many clients. */
export const encodeServerFrame = (frame: ServerFrame): Bytes => packr.pack(frame) as Bytes;

/** Reads what the gateway sent. @throws FrameError */
export function decodeServerFrame(bytes: Uint8Array): ServerFrame {
  const frame = unpack(bytes) as Partial<ServerFrame>;
  if (!Number.isSafeInteger(frame.seq)) throw new FrameError("malformed", "no seq");
  if (frame.t !== FrameKind.snapshot && frame.t !== FrameKind.delta && frame.t !== FrameKind.heartbeat)
    throw new FrameError("malformed", "unknown kind");
  return frame as ServerFrame;
}

export const encodeClientFrame = (frame: ClientFrame): Bytes => packr.pack({ v: PROTOCOL_VERSION, ...frame }) as Bytes;

/** Reads and checks what a client sent. @throws FrameError */
export function decodeClientFrame(bytes: Uint8Array): ClientFrame {
  const { t, view, seq } = unpack(bytes);
  if (t === "subscribe" && (view === "wall" || view === "phone")) return { t, view };
  if (t === "ack" && typeof seq === "number" && Number.isSafeInteger(seq) && seq >= 0) return { t, seq };
  if (t === "resync") return { t };
  throw new FrameError("malformed", "unknown or incomplete");
}
