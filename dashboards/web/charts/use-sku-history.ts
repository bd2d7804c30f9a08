/**
 * The history of one SKU over a span that ends now, read again while the page is visible. The last answer of the same
 * SKU and span stays while a new one is read, and beside an error.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import { get, RequestError } from "../desk/api.js";
import { type SkuHistory, SPANS, type SpanName } from "./sku-history.js";

/** Real time: with the shop's own pace a minute's end is at most so old. */
const EVERY_MS = 5_000;

export interface LoadedHistory {
  answer: SkuHistory | undefined;
  error: RequestError | undefined;
  /** Begin and end of the span that was read, in ms since the epoch. */
  startMs: number;
  endMs: number;
}

const NONE: LoadedHistory = { answer: undefined, error: undefined, startMs: 0, endMs: 0 };

/** @param nowMs the shop's time */
export function useSkuHistory(sku: string, span: SpanName, nowMs: number): LoadedHistory {
  const key = `${span} ${sku}`;
  const [state, setState] = useState<{ key: string; loaded: LoadedHistory }>({ key, loaded: NONE });
  const now = useRef(nowMs);
  now.current = nowMs;
  useEffect(() => {
    let ended = false;
    let isReading = false;
    const { resolution, spanMs, stepMs } = SPANS[span];
    const read = () => {
      if (isReading || document.visibilityState !== "visible") return;
      isReading = true;
      const endMs = Math.ceil(now.current / stepMs) * stepMs;
      const startMs = endMs - spanMs;
      const query = new URLSearchParams({ resolution, from: new Date(startMs).toISOString() });
      get<SkuHistory>(`/v1/skus/${encodeURIComponent(sku)}/history?${query}`)
        .then(
          // Days begin at midnight of the shop, not at that of UTC: the answer has the instant.
          (answer) => {
            const firstMs = span === "month" ? Date.parse(answer.from) : startMs;
            if (!ended) setState({ key, loaded: { answer, error: undefined, startMs: firstMs, endMs } });
          },
          (thrown: unknown) => {
            const error = thrown instanceof RequestError ? thrown : new RequestError(0, "", String(thrown));
            if (!ended)
              setState((before) => ({ key, loaded: { ...(before.key === key ? before.loaded : NONE), error } }));
          },
        )
        .finally(() => {
          isReading = false;
        });
    };
    read();
    const timer = setInterval(read, EVERY_MS);
    document.addEventListener("visibilitychange", read);
    return () => {
      ended = true;
      clearInterval(timer);
      document.removeEventListener("visibilitychange", read);
    };
  }, [key, sku, span]);
  return state.key === key ? state.loaded : NONE;
}
