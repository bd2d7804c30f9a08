/**
 * The frames, and the page's model made from them: encoding and decoding keep every value, bad frames of a client are
 * refused with a code, and a model built from deltas equals one built from a snapshot, with or without a gap.
 */
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import {
  type ClientFrame,
  type DeltaFrame,
  decodeClientFrame,
  decodeServerFrame,
  encodeClientFrame,
  encodeServerFrame,
  FrameError,
  FrameKind,
  PROTOCOL_VERSION,
  type SnapshotFrame,
} from "../../dashboards/protocol.js";
import { alertedSkus, applyFrame, type LiveModel, rankedRows } from "../../dashboards/web/live-model.js";

const engine = {
  nowMs: 1_781_712_000_000,
  speed: 60,
  commandsPerSecond: 8_200,
  eventsPerSecond: 8_150,
  lagEntries: 12,
  lagMs: 180,
  scene: "rush",
  gates: [{ scope: "shop", untilMs: 1_781_712_600_000, actor: "system", reason: "差异 0.83%" }],
};

const snapshot: SnapshotFrame = {
  v: PROTOCOL_VERSION,
  t: FrameKind.snapshot,
  seq: 7,
  view: "wall",
  zone: "Asia/Shanghai",
  minutes: 3,
  lastMinute: 100,
  engine,
  rows: [
    [1, "A", 120, 40.5, 1_000, 20, 30, 5, 0, 1_006],
    [2, "商品-B", 60, null, 1, 2, 3, 4, 5, 6],
  ],
  order: [1, 2],
  cells: [[1, 0, 50, 2, 70], [2]],
  alerts: [
    { id: "a1", sku: "A", state: "fired", firedAtMs: 1, clearedAtMs: null, hourUnits: 120, dailyAverage: 40.5 },
    { id: "a0", sku: "商品-B", state: "cleared", firedAtMs: 1, clearedAtMs: 2, hourUnits: 101, dailyAverage: null },
  ],
};

const delta = (seq: number, changes: Partial<DeltaFrame>): DeltaFrame => ({
  v: PROTOCOL_VERSION,
  t: FrameKind.delta,
  seq,
  lastMinute: 100,
  engine,
  ...changes,
});

const modelOf = (frame: SnapshotFrame): LiveModel => applyFrame(undefined, frame).model as LiveModel;
const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof FrameError) return error.code;
    throw error;
  }
  return "accepted";
};

describe("server frames", () => {
  it.each([
    ["snapshot", snapshot],
    ["delta", delta(8, { rows: [snapshot.rows[0] as never], cells: [[1, -1, 9]], gone: [2], order: [1] })],
    ["heartbeat", { v: PROTOCOL_VERSION, t: FrameKind.heartbeat, seq: 9, engine }],
  ] as const)("a %s is the same after encoding and decoding", (_, frame) => {
    expect(decodeServerFrame(encodeServerFrame(frame))).toEqual(frame);
  });

  it("another version and a malformed frame have different codes", () => {
    const other = new Packr({ useRecords: false }).pack({ ...snapshot, v: PROTOCOL_VERSION + 1 });
    expect(codeOf(() => decodeServerFrame(other))).toBe("other_version");
    expect(codeOf(() => decodeServerFrame(new Uint8Array([0xc1])))).toBe("malformed");
    expect(codeOf(() => decodeServerFrame(encodeClientFrame({ t: "resync" })))).toBe("malformed");
  });
});

describe("client frames", () => {
  it.each<ClientFrame>([
    { t: "subscribe", view: "wall" },
    { t: "subscribe", view: "phone" },
    { t: "ack", seq: 0 },
    { t: "ack", seq: 2 ** 40 },
    { t: "resync" },
  ])("%o is the same after encoding and decoding", (frame) => {
    expect(decodeClientFrame(encodeClientFrame(frame))).toEqual(frame);
  });

  const pack = (value: unknown) => new Packr({ useRecords: false }).pack(value);
  it.each([
    ["an unknown view", { v: 1, t: "subscribe", view: "ceo" }],
    ["no view", { v: 1, t: "subscribe" }],
    ["a negative ack", { v: 1, t: "ack", seq: -1 }],
    ["an ack of a fraction", { v: 1, t: "ack", seq: 1.5 }],
    ["an ack of text", { v: 1, t: "ack", seq: "1" }],
    ["an unknown kind", { v: 1, t: "drop" }],
    ["a list", [1, 2]],
    ["a number", 5],
    ["null", null],
  ])("%s is refused", (_, value) => {
    expect(codeOf(() => decodeClientFrame(pack(value)))).toBe("malformed");
  });

  it("truncated and empty bytes are refused", () => {
    const bytes = encodeClientFrame({ t: "ack", seq: 77_777 });
    for (let length = 0; length < bytes.byteLength; length++)
      expect(codeOf(() => decodeClientFrame(bytes.subarray(0, length)))).not.toBe("accepted");
  });

  it("another version is refused with its own code", () => {
    expect(codeOf(() => decodeClientFrame(pack({ v: 2, t: "resync" })))).toBe("other_version");
  });
});

describe("the page's model", () => {
  it("a snapshot gives rows, order, cells and alerts", () => {
    const model = modelOf(snapshot);
    expect(rankedRows(model).map(({ sku }) => sku)).toEqual(["A", "商品-B"]);
    expect(model.rowOf.get("A")).toMatchObject({ hourUnits: 120, dailyAverage: 40.5, sellable: 1_000, display: 1_006 });
    expect(model.cells.get(1)).toEqual(
      new Map([
        [100, 50],
        [98, 70],
      ]),
    );
    expect(alertedSkus(model)).toEqual(new Set(["A"]));
  });

  it("a delta overwrites, so applying it to a state that already has it changes nothing", () => {
    const model = modelOf(snapshot);
    const change = { rows: [[1, "A", 130, 40.5, 990, 30, 30, 5, 0, 999] as const], cells: [[1, 0, 60]] };
    applyFrame(model, delta(8, change));
    const once = structuredClone({ rows: model.rows, cells: model.cells });
    applyFrame(model, delta(9, change));
    expect({ rows: model.rows, cells: model.cells }).toEqual(once);
    expect(model.cells.get(1)?.get(100)).toBe(60);
  });

  it("reports a gap and still applies the newer values", () => {
    const model = modelOf(snapshot);
    const { gap } = applyFrame(model, delta(10, { rows: [[2, "商品-B", 61, null, 0, 2, 3, 4, 5, 5]] }));
    expect(gap).toBe(true);
    expect(model.rowOf.get("商品-B")?.hourUnits).toBe(61);
  });

  it("reports a gap before a heartbeat, and none when the numbers are in order", () => {
    const model = modelOf(snapshot);
    const heartbeat = (seq: number) => ({ v: PROTOCOL_VERSION, t: FrameKind.heartbeat, seq, engine }) as const;
    expect(applyFrame(model, heartbeat(8)).gap).toBe(false);
    expect(applyFrame(model, heartbeat(10)).gap).toBe(true);
  });

  it("ignores a delta older than the snapshot", () => {
    const model = modelOf(snapshot);
    expect(applyFrame(model, delta(7, { order: [2, 1] })).gap).toBe(false);
    expect(model.order).toEqual([1, 2]);
  });

  it("reports a gap when there is no snapshot yet", () => {
    expect(applyFrame(undefined, delta(1, {}))).toEqual({ model: undefined, gap: true });
  });

  //            98   99   100  101
  //  before  [ 70    ·    50 ]
  //  after        [  ·    50   8 ]
  it("deletes the minutes that leave the window, and counts minutes back from the frame's own last minute", () => {
    const model = modelOf(snapshot);
    applyFrame(model, delta(8, { lastMinute: 101, cells: [[1, 0, 8]] }));
    expect(model.cells.get(1)).toEqual(
      new Map([
        [100, 50],
        [101, 8],
      ]),
    );
  });

  it("a pane corrected to zero disappears", () => {
    const model = modelOf(snapshot);
    applyFrame(model, delta(8, { cells: [[1, 2, 0]] }));
    expect(model.cells.get(1)?.has(98)).toBe(false);
  });

  it("deletes a removed row, and adds its SKU again under another id", () => {
    const model = modelOf(snapshot);
    applyFrame(model, delta(8, { gone: [2], order: [1] }));
    expect(model.rowOf.has("商品-B")).toBe(false);
    applyFrame(model, delta(9, { rows: [[3, "商品-B", 9, 1, 1, 1, 1, 1, 1, 1]], order: [1, 3] }));
    expect(rankedRows(model).map(({ id }) => id)).toEqual([1, 3]);
  });

  it("the revision grows with cells, rows, order and minutes, and only then", () => {
    const model = modelOf(snapshot);
    const before = model.revision;
    applyFrame(model, delta(8, { alerts: [] }));
    expect(model.revision).toBe(before);
    applyFrame(model, delta(9, { cells: [[1, 0, 51]] }));
    expect(model.revision).toBeGreaterThan(before);
  });
});
