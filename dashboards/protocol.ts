/**
 * The frames between the gateway and a screen: msgpack in binary WebSocket messages, one version number in each. A
 * screen subscribes to feeds by name, several on one connection; each frame of the gateway carries the body of one
 * feed. Frames of one subscription are numbered without gaps, and every value in them is absolute. A screen
 * acknowledges every numbered frame that it receives, because its acks are the only back-pressure; after a gap it asks
 * for a `resync`. Shared by the server and the browser: nothing here may import from Node. What a client sends is
 * checked field by field; of what the gateway sends only the envelope is checked, not the body.
 */
import { Packr } from "msgpackr";
import type { FeedBody } from "./feed.js";

/** Raised whenever a frame or a feed's body changes its meaning; a page that meets another version reloads itself. */
export const PROTOCOL_VERSION = 2;

/** Where the gateway listens. */
export const LIVE_PATH = "/v1/live";

/** Feeds that one connection may be subscribed to at the same time. */
export const MAX_SUBSCRIPTIONS = 16;

/** Parameters that a client may give for one feed. */
const MAX_PARAMETERS = 8;
/** Characters of a name and of a parameter's value. */
const MAX_TEXT = 64;

/** The whole state of a feed (`snapshot`), or what has changed since the frame before (`delta`). */
export interface BodyFrame {
  t: "snapshot" | "delta";
  feed: string;
  /** Number of the frame; a delta's is one more than that of the frame before. */
  seq: number;
  body: FeedBody;
}

/** Nothing was sent for a while, so nothing has changed; shows that the connection and the gateway work. */
export interface HeartbeatFrame {
  t: "heartbeat";
}

/**
 * `unknown`: there is no such feed. `forbidden`: the client's role may not see it. `bad_parameters`: one is unknown or
 * has a value that is not allowed. `too_many`: the connection has MAX_SUBSCRIPTIONS already.
 */
export type RefusalReason = "unknown" | "forbidden" | "bad_parameters" | "too_many";

/** The feed is not sent; a subscription to it with other parameters is not changed. */
export interface RefusedFrame {
  t: "refused";
  feed: string;
  reason: RefusalReason;
}

export type ServerFrame = BodyFrame | HeartbeatFrame | RefusedFrame;

/** A feed's name, and its parameters beside it. */
export interface FeedRequest {
  readonly name: string;
  readonly [parameter: string]: string | number;
}

/**
 * `subscribe` to a feed again replaces its parameters; the answer is a snapshot. `ack` confirms every frame of the feed
 * up to the one numbered `seq`. `resync` asks for a snapshot.
 */
export type ClientFrame =
  | { t: "subscribe"; feeds: readonly FeedRequest[] }
  | { t: "unsubscribe"; feeds: readonly string[] }
  | { t: "ack"; feed: string; seq: number }
  | { t: "resync"; feed: string };

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

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === "string" && value.length <= MAX_TEXT;
const isSeq = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function unpack(bytes: Uint8Array): Record<string, unknown> {
  let frame: unknown;
  try {
    frame = packr.unpack(bytes);
  } catch {
    throw new FrameError("malformed", "not msgpack");
  }
  if (!isObject(frame) || !Number.isSafeInteger(frame["v"])) throw new FrameError("malformed", "not a frame");
  if (frame["v"] !== PROTOCOL_VERSION) throw new FrameError("other_version", `version ${String(frame["v"])}`);
  return frame;
}

/** The frame's bytes; the caller may send the same bytes to many clients. */
export const encodeServerFrame = (frame: ServerFrame): Bytes => packr.pack({ v: PROTOCOL_VERSION, ...frame }) as Bytes;

/** Reads what the gateway sent. @throws FrameError */
export function decodeServerFrame(bytes: Uint8Array): ServerFrame {
  const { t, feed, seq, body, reason } = unpack(bytes);
  if (t === "heartbeat") return { t };
  if (!isText(feed)) throw new FrameError("malformed", "no feed");
  if (t === "refused" && isText(reason)) return { t, feed, reason: reason as RefusalReason };
  if ((t === "snapshot" || t === "delta") && isSeq(seq) && typeof body === "object" && body !== null)
    return { t, feed, seq, body };
  throw new FrameError("malformed", "unknown or incomplete");
}

export const encodeClientFrame = (frame: ClientFrame): Bytes => packr.pack({ v: PROTOCOL_VERSION, ...frame }) as Bytes;

/** Reads and checks what a client sent, but not whether feeds and parameters exist. @throws FrameError */
export function decodeClientFrame(bytes: Uint8Array): ClientFrame {
  const { t, feeds, feed, seq } = unpack(bytes);
  if (t === "ack" && isText(feed) && isSeq(seq)) return { t, feed, seq };
  if (t === "resync" && isText(feed)) return { t, feed };
  if (Array.isArray(feeds) && feeds.length > 0 && feeds.length <= MAX_SUBSCRIPTIONS) {
    if (t === "subscribe" && feeds.every(isFeedRequest)) return { t, feeds };
    if (t === "unsubscribe" && feeds.every(isText)) return { t, feeds };
  }
  throw new FrameError("malformed", "unknown or incomplete");
}

function isFeedRequest(value: unknown): value is FeedRequest {
  if (!isObject(value) || !isText(value["name"])) return false;
  const entries = Object.entries(value);
  return (
    entries.length <= 1 + MAX_PARAMETERS &&
    entries.every(([name, given]) => isText(name) && (isText(given) || Number.isFinite(given)))
  );
}
