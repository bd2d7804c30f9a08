/**
 * Keeps one WebSocket to the gateway and applies its frames to a model. It acknowledges every frame, asks for a
 * snapshot when frames are missing, reports stale data after three seconds without a frame, and reconnects with
 * growing, random pauses; the last model stays, so that the page can show it as old. On another protocol version the
 * page reloads, at most once a minute. Not every state arrives, only the newest.
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

/** Connects at once. `onChange` is called after every frame and every change of phase. @returns closes it for good */
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
    // After a reconnect the old model's frame numbers are not valid: wait for the snapshot.
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
      if (!isOpened && state.attempts > 0) reloadWhenSessionEnded();
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
    const silent = socket;
    silent.close();
    lose(silent); // without an answer from the peer `onclose` may take minutes
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
