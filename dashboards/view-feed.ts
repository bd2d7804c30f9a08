/**
 * The state of one view as its clients were last sent it. Each call of `advance` compares the engine's present state
 * with that state and returns one frame with the changes, the same for all clients, or a heartbeat after a quiet time.
 * A view shows the SKUs of the ranking, which is renewed every few seconds, and those with an open alert; a SKU keeps
 * its row id while it is shown. States between two calls are not sent. It has no socket, no client and no timer.
 */
import { MINUTE_MS } from "../engine/kernel/clock.js";
import type { AlertLive, EngineLive, LiveSource, SkuLive } from "./live-source.js";
import {
  type AlertFrame,
  type CellsFrame,
  type EngineFrame,
  FrameKind,
  PROTOCOL_VERSION,
  type RowFrame,
  type ServerFrame,
  type ViewLimits,
  type ViewName,
} from "./protocol.js";

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
  /** Ids of rows that are no longer shown. */
  removed: number[];
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
  gates: engine.breakers.map(({ scope, untilMs, actor, reason }) => ({ scope, untilMs, actor, reason })),
});

const sameList = <T>(a: readonly T[], b: readonly T[], same: (x: T, y: T) => boolean): boolean =>
  a.length === b.length && a.every((item, i) => same(item, b[i] as T));
const same = <T>(a: T, b: T): boolean => a === b;
const sameAlert = (a: AlertFrame, b: AlertFrame): boolean =>
  a.id === b.id && a.state === b.state && a.clearedAtMs === b.clearedAtMs && a.firedAtMs === b.firedAtMs;
const sameBreaker = (a: EngineFrame["gates"][number], b: EngineFrame["gates"][number]): boolean =>
  a.scope === b.scope && a.untilMs === b.untilMs && a.actor === b.actor && a.reason === b.reason;

interface FeedOptions {
  source: LiveSource;
  /** IANA name of the shop's time zone. */
  zone: string;
  rerankMs: number;
  heartbeatMs: number;
}

export class ViewFeed {
  /** Number of the last frame; 0 before the first. */
  seq = 0;
  readonly #view: ViewName;
  readonly #limits: ViewLimits;
  readonly #options: FeedOptions;
  readonly #rows = new Map<string, Row>();
  #nextId = 1;
  #order: string[] = [];
  #alerts: AlertFrame[] = [];
  #engine: EngineFrame | undefined;
  #lastMinute = 0;
  #rankedAtMs = Number.NEGATIVE_INFINITY;
  #sentAtMs = Number.NEGATIVE_INFINITY;
  #snapshot: Uint8Array | undefined;

  constructor(view: ViewName, limits: ViewLimits, options: FeedOptions) {
    this.#view = view;
    this.#limits = limits;
    this.#options = options;
  }

  /** Reads the engine's present state. @returns the frame with what changed, or undefined when nothing is to be sent */
  advance(nowMs: number): ServerFrame | undefined {
    const changes = this.#refresh(nowMs);
    const engine = this.#engine as EngineFrame;
    const moved = changes.order || changes.alerts || changes.engine;
    const isQuiet = !moved && changes.rows.length + changes.cells.length + changes.removed.length === 0;
    if (isQuiet && nowMs - this.#sentAtMs < this.#options.heartbeatMs) return undefined;
    this.#sentAtMs = nowMs;
    this.seq++;
    this.#snapshot = undefined;
    if (isQuiet) return { v: PROTOCOL_VERSION, t: FrameKind.heartbeat, seq: this.seq, engine };
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
      ...(changes.removed.length > 0 && { gone: changes.removed }),
    };
  }

  /** The whole state as of frame `seq`; encoded once for each `seq`. */
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
    const changes: Changes = { rows: [], cells: [], removed: [], order: false, alerts: false, engine: false };

    const engine = engineFrame(source.engine());
    const lastMinute = Math.floor(engine.nowMs / MINUTE_MS);
    const before = this.#engine;
    changes.engine =
      before === undefined ||
      lastMinute !== this.#lastMinute ||
      before.speed !== engine.speed ||
      before.scene !== engine.scene ||
      !sameList(before.gates, engine.gates, sameBreaker);
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
      changes.removed.push(row.id);
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
