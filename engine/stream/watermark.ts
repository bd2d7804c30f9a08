/**
 * Event time and lateness. The log's clock never decreases, and the watermark is that clock: when it passes an instant,
 * everything that was written before has been processed. An event may have an earlier event time (a till that was
 * offline); it is applied while its pane is kept, and counted as late afterwards.
 *
 *      pane kept?     |<------- kept panes ------->| watermark
 *      event at  ✗ late | ✓ applied to its own pane  | (never ahead: the ledger refuses the future)
 */
import { minuteOf } from "./window.js";

/** Whether an event's minute is still inside a window of `minutes` that ends with the watermark's minute. */
export const isInWindow = (atMs: number, watermarkMs: number, minutes: number): boolean =>
  minuteOf(atMs) > minuteOf(watermarkMs) - minutes;
