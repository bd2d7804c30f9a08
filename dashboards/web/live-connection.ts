/**
 * Keeps one WebSocket to the gateway and turns its frames into a model. It acknowledges every frame, asks for a
 * snapshot when frames are missing, calls the data stale after three seconds of silence, and reconnects with growing,
 * jittered pauses after the socket closed; the last model stays, so that the page can show it as old. A page that
 * meets another protocol version reloads itself, at most once a minute. It promises no delivery: what matters is
 * always the newest state.
 */
import {
  decodeServerFrame,
  encodeClientFrame,
  FrameError,
  FrameKind,
  LIVE_PATH,
  type ServerFrame,
  type ViewName,
} from "../protocol.js";
import { applyFrame, type LiveModel } from "./live-model.js";

/** `loading`: the first snapshot is still to come. `offline`: waiting to retry. `reconnecting`: trying. */
export type Phase = "loading" | "live" | "stale" | "offline" | "reconnecting";

export interface LiveState {
  phase: Phase;
  /** Undefined before the first snapshot; old unless the phase is live. */
  model: LiveModel | undefined;
  /** When the last frame came, on `performance.now`'s scale. */
  frameAtMs: number;
  /** When the next attempt starts, while offline. */
  retryAtMs: number;
  /** Attempts since the last frame. */
  attempts: number;
}

/** Three heartbeats. */
const STALE_MS = 3_000;
/** A socket this silent is dead even if it looks open. */
const SILENT_MS = 12_000;
const CONNECT_TIMEOUT_MS = 8_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const RELOAD_KEY = "shuiwei.reloadedAt";
const RELOAD_PAUSE_MS = 60_000;

/** Half of the doubling pause is fixed and half is random, so that many screens do not come back at one moment. */
function pauseMs(attempts: number): number {
  const bound = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempts, 10));
  const [random] = crypto.getRandomValues(new Uint32Array(1)) as unknown as [number];
  return bound / 2 + ((random / 2 ** 32) * bound) / 2;
}

/**
 * A browser whose session is over gets no socket, and is not told why: the page itself then shows how to pair again.
 */
function reloadWhenShutOut(): void {
  fetch("/", { method: "HEAD", cache: "no-store" }).then(
    ({ status }) => {
      if (status === 401) reloadOnce();
    },
    () => {}, // the server is away, and may come back
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
    // no storage to count reloads in: better an old page than a page that reloads for ever
  }
}

/**
 * Connects at once. `onChange` is called after every frame and every change of phase. @returns what ends it for good
 */
export function openLive(view: ViewName, onChange: (state: LiveState) => void): () => void {
  let state: LiveState = { phase: "loading", model: undefined, frameAtMs: 0, retryAtMs: 0, attempts: 0 };
  let socket: WebSocket | undefined;
  let openedAtMs = 0;
  let resyncing = false;
  let retry: ReturnType<typeof setTimeout> | undefined;

  const publish = (change: Partial<LiveState>) => {
    state = { ...state, ...change };
    onChange(state);
  };

  const receive = (from: WebSocket, bytes: Uint8Array) => {
    let frame: ServerFrame;
    try {
      frame = decodeServerFrame(bytes);
    } catch (error) {
      if (error instanceof FrameError && error.code === "other_version") reloadOnce();
      from.close();
      return;
    }
    from.send(encodeClientFrame({ t: "ack", seq: frame.seq }));
    // A reconnected page keeps its old model, whose numbers mean nothing to the new connection: wait for the snapshot.
    const following = state.phase === "live" || state.phase === "stale" || frame.t === FrameKind.snapshot;
    const known = following ? state.model : undefined;
    const { model, gap } = applyFrame(known, frame);
    if (!gap) resyncing = false;
    else if (!resyncing) {
      resyncing = true;
      from.send(encodeClientFrame({ t: "resync" }));
    }
    if (model !== undefined) publish({ phase: "live", model, frameAtMs: performance.now(), attempts: 0 });
  };

  const connect = () => {
    clearTimeout(retry);
    retry = undefined;
    resyncing = false;
    openedAtMs = performance.now();
    if (state.phase === "offline") publish({ phase: state.model === undefined ? "loading" : "reconnecting" });
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const opening = new WebSocket(`${scheme}//${location.host}${LIVE_PATH}`);
    socket = opening;
    opening.binaryType = "arraybuffer";
    opening.onopen = () => opening.send(encodeClientFrame({ t: "subscribe", view }));
    opening.onmessage = ({ data }) => {
      if (socket === opening && data instanceof ArrayBuffer) receive(opening, new Uint8Array(data));
    };
    let isOpened = false;
    opening.addEventListener("open", () => {
      isOpened = true;
    });
    opening.onclose = () => {
      if (!isOpened && state.attempts > 0) reloadWhenShutOut();
      lose(opening);
    };
  };

  const lose = (lost: WebSocket) => {
    if (socket !== lost) return;
    socket = undefined;
    const waitMs = pauseMs(state.attempts);
    retry = setTimeout(connect, waitMs);
    publish({ phase: "offline", retryAtMs: performance.now() + waitMs, attempts: state.attempts + 1 });
  };

  const watch = setInterval(() => {
    if (socket === undefined) return;
    const nowMs = performance.now();
    const silentMs = nowMs - Math.max(state.frameAtMs, openedAtMs);
    if (state.phase === "live" && silentMs >= STALE_MS) publish({ phase: "stale" });
    const trying = state.phase === "loading" || state.phase === "reconnecting";
    if (silentMs < (trying ? CONNECT_TIMEOUT_MS : SILENT_MS)) return;
    const dead = socket;
    dead.close();
    lose(dead); // a dead peer answers no close, and `onclose` may take minutes
  }, 250);

  const retryNow = () => {
    if (socket === undefined && document.visibilityState === "visible") connect();
  };
  addEventListener("online", retryNow);
  document.addEventListener("visibilitychange", retryNow);
  connect();

  return () => {
    clearInterval(watch);
    clearTimeout(retry);
    removeEventListener("online", retryNow);
    document.removeEventListener("visibilitychange", retryNow);
    const last = socket;
    socket = undefined;
    last?.close();
  };
}
