/**
 * Metrics of the process itself: processor time, memory, and how late its event loop is. Names are those that
 * Prometheus' clients share, where there is one. The delay is measured in windows of 15 s; a scrape gets the greater of
 * the last complete window and the one that runs, so two scrapers disturb each other in nothing.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import { cpuUsage, memoryUsage } from "node:process";
import { monotonicClock } from "../kernel/clock.js";
import type { MetricRow } from "./metric-row.js";

const WINDOW_MS = 15_000;
const RESOLUTION_MS = 10;

/** The delay of the event loop, in seconds: how much later than due a timer runs. */
class EventLoopDelay {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #last = 0;
  #sinceMs = monotonicClock.now();

  constructor() {
    this.#histogram.enable();
  }

  /** The 99th percentile. */
  p99(): number {
    const nowMs = monotonicClock.now();
    // A timer every 10 ms: what it took longer is the delay. Before its first run there is none.
    const running =
      this.#histogram.count === 0 ? 0 : Math.max(0, this.#histogram.percentile(99) / 1e9 - RESOLUTION_MS / 1_000);
    const greater = Math.max(this.#last, running);
    if (nowMs - this.#sinceMs >= WINDOW_MS) {
      this.#last = running;
      this.#sinceMs = nowMs;
      this.#histogram.reset();
    }
    return greater;
  }
}

/** All of them; the measurement begins now, and does not keep a process alive. */
export function processMetrics(): readonly MetricRow[] {
  const delay = new EventLoopDelay();
  return [
    {
      name: "event_loop_delay_seconds",
      type: "gauge",
      help: "How late the event loop of this process runs, 99th percentile of the last 15 to 30 s",
      labels: [],
      read: () => [[delay.p99()]],
    },
    {
      name: "process_cpu_seconds_total",
      isShared: true,
      type: "counter",
      help: "Processor time of this process, of user and system",
      labels: [],
      read() {
        const { user, system } = cpuUsage();
        return [[(user + system) / 1e6]];
      },
    },
    {
      name: "process_resident_memory_bytes",
      isShared: true,
      type: "gauge",
      help: "Memory of this process",
      labels: [],
      read: () => [[memoryUsage().rss]],
    },
  ];
}
