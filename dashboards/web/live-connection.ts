/**
 * Keeps one WebSocket to the gateway and applies its frames to the page's copies of the feeds. It acknowledges every
 * numbered frame, asks for a snapshot of a feed when frames of it are missing, reports stale data within two seconds
 * without a frame, and reconnects with growing, random pauses; the last model stays, so that the page can show it as
 * old. On another protocol version the page reloads, at most once a minute. Not every state arrives, only the newest.
 */
import {
  type BodyFrame,
  decodeServerFrame,
  encodeClientFrame,
  type FeedRequest,
  FrameError,
  LIVE_PATH,
  type RefusedFrame,
  type ServerFrame,
} from "../protocol.js";
import type { FeedCopy } from "./feed-copy.js";

/** `loading`: the first snapshots are still to come. `offline`: waiting to retry. `reconnecting`: trying. */
export type Phase = "loading" | "live" | "stale" | "offline" | "reconnecting";

/** A page's copies of its feeds, and the model that they make together. */
export interface Copies<Model> {
  readonly byName: ReadonlyMap<string, FeedCopy<unknown>>;
  /** Feeds that the page can do without: a server of the previous release does not have them. */
  readonly optional?: ReadonlySet<string>;
  /** Undefined until every feed but the optional ones has sent a snapshot. */
  model(): Model | undefined;
}

export interface LiveState<Model> {
  phase: Phase;
  /** Undefined before the first snapshots; old unless the phase is live. */
  model: Model | undefined;
  /** A feed that the gateway does not send to this page. */
  refused: string | undefined;
  /** When the last frame came, on `performance.now`'s scale. */
  frameAtMs: number;
  /** When the next attempt starts, while offline. */
  retryAtMs: number;
  /** Attempts since the last frame. */
  attempts: number;
}

/** What is shown before anything has come. */
export const CONNECTING: LiveState<never> = {
  phase: "loading",
  model: undefined,
  refused: undefined,
  frameAtMs: 0,
  retryAtMs: 0,
  attempts: 0,
};

/** The silence is checked this often. */
const WATCH_MS = 100;
/** Three heartbeats. With WATCH_MS and a heartbeat's own delay, old data is shown as old after less than 2 s. */
const STALE_MS = 1_500;
/** After this time without a frame the connection is given up even if it seems open. */
const SILENT_MS = 12_000;
const CONNECT_TIMEOUT_MS = 8_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const RELOAD_KEY = "shuiwei.reloadedAt";
const RELOAD_PAUSE_MS = 60_000;

/** The pause doubles; half of it is random, so that many screens do not reconnect at the same moment. */
function pauseMs(attempts: number): number {
  const bound = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempts, 10));
  const [random] = crypto.getRandomValues(new Uint32Array(1)) as unknown as [number];
  return bound / 2 + ((random / 2 ** 32) * bound) / 2;
}

/**
 * A browser whose session has ended cannot open a socket and gets no reason. Reloading shows the page for pairing.
 */
function reloadWhenSessionEnded(): void {
  fetch("/", { method: "HEAD", cache: "no-store" }).then(
    ({ status }) => {
      if (status === 401) reloadOnce();
    },
    () => {}, // the server cannot be reached now
  );
}

function reloadOnce(): void {
  try {
    const before = Number(sessionStorage.getItem(RELOAD_KEY) ?? 0);
    const nowMs = performance.timeOrigin + performance.now(); // comparable across reloads
    if (nowMs - before < RELOAD_PAUSE_MS) return;
    sessionStorage.setItem(RELOAD_KEY, String(nowMs));
    location.reload();
  } catch {
    // no storage to count reloads in: an old page is better than one that reloads for ever
  }
}

export class LiveConnection<Model> {
  readonly #onChange: (state: LiveState<Model>) => void;
  readonly #watch: ReturnType<typeof setInterval>;
  readonly #copies: Copies<Model>;
  readonly #resyncing = new Set<string>();
  #feeds: readonly FeedRequest[];
  #state: LiveState<Model> = CONNECTING;
  #socket: WebSocket | undefined;
  #openedAtMs = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;

  /** Connects at once. `onChange` is called after every frame and every change of phase. */
  constructor(copies: Copies<Model>, feeds: readonly FeedRequest[], onChange: (state: LiveState<Model>) => void) {
    this.#copies = copies;
    this.#feeds = feeds;
    this.#onChange = onChange;
    this.#watch = setInterval(() => this.#checkSilence(), WATCH_MS);
    addEventListener("online", this.#retryNow);
    document.addEventListener("visibilitychange", this.#retryNow);
    this.#connect();
  }

  /** Changes the parameters of feeds. Until their snapshots arrive, the last model stays. */
  subscribe(feeds: readonly FeedRequest[]): void {
    this.#feeds = feeds;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(encodeClientFrame({ t: "subscribe", feeds }));
  }

  /** Closes it for good. */
  close(): void {
    clearInterval(this.#watch);
    clearTimeout(this.#retry);
    removeEventListener("online", this.#retryNow);
    document.removeEventListener("visibilitychange", this.#retryNow);
    const last = this.#socket;
    this.#socket = undefined;
    last?.close();
  }

  #connect(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#resyncing.clear();
    for (const copy of this.#copies.byName.values()) copy.restart();
    this.#openedAtMs = performance.now();
    if (this.#state.phase === "offline")
      this.#publish({ phase: this.#state.model === undefined ? "loading" : "reconnecting" });
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}${LIVE_PATH}`);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    let isOpened = false;
    socket.onopen = () => {
      isOpened = true;
      socket.send(encodeClientFrame({ t: "subscribe", feeds: this.#feeds }));
    };
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket && data instanceof ArrayBuffer) this.#receive(socket, new Uint8Array(data));
    };
    socket.onclose = () => {
      if (!isOpened && this.#state.attempts > 0) reloadWhenSessionEnded();
      this.#lose(socket);
    };
  }

  #receive(from: WebSocket, bytes: Uint8Array): void {
    let frame: ServerFrame;
    try {
      frame = decodeServerFrame(bytes);
    } catch (error) {
      if (error instanceof FrameError && error.code === "other_version") reloadOnce();
      from.close();
      return;
    }
    const atMs = performance.now();
    if (frame.t === "refused") this.#showRefused(frame);
    else if (frame.t !== "heartbeat") this.#apply(from, frame, atMs);
    const model = this.#copies.model();
    const isLive = Array.from(this.#copies.byName).every(
      ([name, { isFollowing }]) => isFollowing || this.#copies.optional?.has(name),
    );
    this.#publish({ frameAtMs: atMs, attempts: 0, ...(isLive && { phase: "live", model }) });
  }

  #apply(from: WebSocket, frame: BodyFrame, atMs: number): void {
    const { feed, seq } = frame;
    from.send(encodeClientFrame({ t: "ack", feed, seq }));
    const isGap = this.#copies.byName.get(feed)?.apply(frame, atMs) === true;
    if (!isGap) this.#resyncing.delete(feed);
    else if (!this.#resyncing.has(feed)) {
      this.#resyncing.add(feed);
      from.send(encodeClientFrame({ t: "resync", feed }));
    }
  }

  /** Without one of its feeds the page shows nothing, unless it is optional: it names which one. */
  #showRefused({ feed, reason }: RefusedFrame): void {
    if (this.#copies.optional?.has(feed)) return;
    // The page is of another release than the server.
    if (reason === "unknown" || reason === "bad_parameters") reloadOnce();
    this.#publish({ refused: feed });
  }

  #lose(lost: WebSocket): void {
    if (this.#socket !== lost) return;
    this.#socket = undefined;
    const { attempts } = this.#state;
    const waitMs = pauseMs(attempts);
    this.#retry = setTimeout(() => this.#connect(), waitMs);
    this.#publish({ phase: "offline", retryAtMs: performance.now() + waitMs, attempts: attempts + 1 });
  }

  #checkSilence(): void {
    const silent = this.#socket;
    if (silent === undefined) return;
    const { phase, frameAtMs } = this.#state;
    const silentMs = performance.now() - Math.max(frameAtMs, this.#openedAtMs);
    if (phase === "live" && silentMs >= STALE_MS) this.#publish({ phase: "stale" });
    const trying = phase === "loading" || phase === "reconnecting";
    if (silentMs < (trying ? CONNECT_TIMEOUT_MS : SILENT_MS)) return;
    silent.close();
    this.#lose(silent); // without an answer from the peer `onclose` may take minutes
  }

  readonly #retryNow = (): void => {
    if (this.#socket === undefined && document.visibilityState === "visible") this.#connect();
  };

  #publish(change: Partial<LiveState<Model>>): void {
    this.#state = { ...this.#state, ...change };
    this.#onChange(this.#state);
  }
}
