/**
 * The frames: encoding and decoding keep every value, bad frames of a client are refused with a code, and a screen's
 * copy of a feed applies frames in their order and reports gaps.
 */
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import {
  type BodyFrame,
  type ClientFrame,
  decodeClientFrame,
  decodeServerFrame,
  encodeClientFrame,
  encodeServerFrame,
  FrameError,
  MAX_SUBSCRIPTIONS,
  PROTOCOL_VERSION,
  type ServerFrame,
} from "../../dashboards/protocol.js";
import { FeedCopy, wholeStore } from "../../dashboards/web/feed-copy.js";

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof FrameError) return error.code;
    throw error;
  }
  return "accepted";
};
const pack = (value: unknown) => new Packr({ useRecords: false }).pack(value);
const v = PROTOCOL_VERSION;

describe("server frames", () => {
  it.each<ServerFrame>([
    { t: "snapshot", feed: "alerts", seq: 7, body: { alerts: [{ sku: "商品-B", average: null, ratio: 0.5 }] } },
    { t: "delta", feed: "stock-heat", seq: 2 ** 40, body: { cells: [[1, -1, 9]], order: [1] } },
    { t: "heartbeat" },
    { t: "refused", feed: "staff", reason: "forbidden" },
  ])("%o is the same after encoding and decoding", (frame) => {
    expect(decodeServerFrame(encodeServerFrame(frame))).toEqual(frame);
  });

  it.each([
    ["no feed", { v, t: "delta", seq: 1, body: {} }],
    ["no number", { v, t: "delta", feed: "a", body: {} }],
    ["no body", { v, t: "snapshot", feed: "a", seq: 1 }],
    ["an unknown kind", { v, t: "drop", feed: "a", seq: 1, body: {} }],
  ])("%s is malformed", (_, value) => {
    expect(codeOf(() => decodeServerFrame(pack(value)))).toBe("malformed");
  });

  it("another version and a malformed frame have different codes", () => {
    expect(codeOf(() => decodeServerFrame(pack({ v: v + 1, t: "heartbeat" })))).toBe("other_version");
    expect(codeOf(() => decodeServerFrame(new Uint8Array([0xc1])))).toBe("malformed");
  });
});

describe("client frames", () => {
  it.each<ClientFrame>([
    { t: "subscribe", feeds: [{ name: "engine" }, { name: "stock-heat", size: "wall", minutes: 60 }] },
    { t: "unsubscribe", feeds: ["engine", "alerts"] },
    { t: "ack", feed: "engine", seq: 0 },
    { t: "ack", feed: "engine", seq: 2 ** 40 },
    { t: "resync", feed: "engine" },
  ])("%o is the same after encoding and decoding", (frame) => {
    expect(decodeClientFrame(encodeClientFrame(frame))).toEqual(frame);
  });

  it.each([
    ["a subscription to nothing", { v, t: "subscribe", feeds: [] }],
    ["a subscription without a list", { v, t: "subscribe", feeds: { name: "a" } }],
    ["too many feeds", { v, t: "subscribe", feeds: Array(MAX_SUBSCRIPTIONS + 1).fill({ name: "a" }) }],
    ["a feed without a name", { v, t: "subscribe", feeds: [{ size: "wall" }] }],
    ["a name that is a number", { v, t: "subscribe", feeds: [{ name: 1 }] }],
    ["a long name", { v, t: "subscribe", feeds: [{ name: "a".repeat(65) }] }],
    ["a parameter that is a list", { v, t: "subscribe", feeds: [{ name: "a", size: [] }] }],
    ["a parameter that is not finite", { v, t: "subscribe", feeds: [{ name: "a", size: Number.NaN }] }],
    [
      "many parameters",
      { v, t: "subscribe", feeds: [{ name: "a", a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1 }] },
    ],
    ["an unsubscription by objects", { v, t: "unsubscribe", feeds: [{ name: "a" }] }],
    ["an ack without a feed", { v, t: "ack", seq: 1 }],
    ["a negative ack", { v, t: "ack", feed: "a", seq: -1 }],
    ["an ack of a fraction", { v, t: "ack", feed: "a", seq: 1.5 }],
    ["an ack of text", { v, t: "ack", feed: "a", seq: "1" }],
    ["a resync without a feed", { v, t: "resync" }],
    ["an unknown kind", { v, t: "drop", feed: "a", seq: 1 }],
    ["a list", [1, 2]],
    ["a number", 5],
    ["null", null],
  ])("%s is refused", (_, value) => {
    expect(codeOf(() => decodeClientFrame(pack(value)))).toBe("malformed");
  });

  it("truncated and empty bytes are refused", () => {
    const bytes = encodeClientFrame({ t: "ack", feed: "engine", seq: 77_777 });
    for (let length = 0; length < bytes.byteLength; length++)
      expect(codeOf(() => decodeClientFrame(bytes.subarray(0, length)))).not.toBe("accepted");
  });

  it("another version is refused with its own code", () => {
    expect(codeOf(() => decodeClientFrame(pack({ v: 1, t: "resync" })))).toBe("other_version");
  });
});

describe("a screen's copy of a feed", () => {
  const frame = (t: BodyFrame["t"], seq: number): BodyFrame => ({ t, feed: "a", seq, body: { seq } });
  const copyAt = (seq: number) => {
    const copy = new FeedCopy(wholeStore<{ seq: number }>());
    copy.apply(frame("snapshot", seq), 0);
    return copy;
  };

  it("follows deltas in order without a gap", () => {
    const copy = copyAt(7);
    expect(copy.apply(frame("delta", 8), 25)).toBe(false);
    expect([copy.model, copy.atMs]).toEqual([{ seq: 8 }, 25]);
  });

  it("reports a gap and still applies the newer values", () => {
    const copy = copyAt(7);
    expect(copy.apply(frame("delta", 10), 0)).toBe(true);
    expect(copy.model).toEqual({ seq: 10 });
  });

  it("ignores a delta that is not newer than the snapshot", () => {
    const copy = copyAt(7);
    expect(copy.apply(frame("delta", 7), 0)).toBe(false);
    expect(copy.model).toEqual({ seq: 7 });
  });

  it("takes every snapshot: of other parameters the numbers may be smaller", () => {
    const copy = copyAt(700);
    expect(copy.apply(frame("snapshot", 3), 0)).toBe(false);
    expect(copy.apply(frame("delta", 4), 0)).toBe(false);
    expect(copy.model).toEqual({ seq: 4 });
  });

  it("reports a gap before the first snapshot of a connection, and keeps the old model", () => {
    const fresh = new FeedCopy(wholeStore());
    expect(fresh.apply(frame("delta", 1), 0)).toBe(true);
    expect(fresh.model).toBeUndefined();
    const copy = copyAt(7);
    copy.restart();
    expect(copy.isFollowing).toBe(false);
    expect(copy.apply(frame("delta", 8), 0)).toBe(true);
    expect(copy.model).toEqual({ seq: 7 });
  });
});
