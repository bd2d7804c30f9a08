/**
 * How long answers took, by route, method and class of status, as a histogram of the metrics. Answers are counted in
 * plain fields and made into a metric when the metrics are read: prom-client's own histogram looks its series up by a
 * text of all labels at each answer. A series appears with its first answer. The number of series is limited by that of
 * the routes.
 */
import type { Histogram, Registry } from "prom-client";

const NAME = "shuiwei_http_request_seconds";
const HELP = "Time from a request's head to the end of its answer, by route, method and class of status";
/** From half a millisecond (an order on an idle engine) to 2.5 s, in seconds. */
const BOUNDS: readonly number[] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;

/** Counts one answer. */
export type CountAnswer = (status: number, elapsedMs: number) => void;

class Series {
  readonly labels: Readonly<Record<"method" | "route" | "status", string>>;
  /** Of each bound those above the one before; the last are above all bounds. */
  readonly #counts: number[] = new Array(BOUNDS.length + 1).fill(0);
  #seconds = 0;

  constructor(method: string, route: string, status: string) {
    this.labels = { method, route, status };
  }

  observe(seconds: number): void {
    let bucket = 0;
    while (bucket < BOUNDS.length && seconds > (BOUNDS[bucket] as number)) bucket++;
    (this.#counts[bucket] as number)++;
    this.#seconds += seconds;
  }

  /** In the form of prom-client; empty before the first answer. */
  values() {
    const { labels } = this;
    let count = 0;
    const buckets = this.#counts.map((own, i) => {
      count += own;
      return { labels: { le: BOUNDS[i] ?? "+Inf", ...labels }, value: count, metricName: `${NAME}_bucket` };
    });
    if (count === 0) return [];
    return [
      ...buckets,
      { labels, value: this.#seconds, metricName: `${NAME}_sum` },
      { labels, value: count, metricName: `${NAME}_count` },
    ];
  }
}

export class AnswerTimes {
  readonly #byRoute = new Map<string, CountAnswer>();
  readonly #all: Series[] = [];

  constructor(registry: Registry) {
    const describe = async () => ({
      ...{ name: NAME, help: HELP, type: "histogram", aggregator: "sum" },
      values: this.#all.flatMap((series) => series.values()),
    });
    // Of a metric the registry uses its name and this.
    registry.registerMetric({ name: NAME, get: describe } as unknown as Histogram);
  }

  /** The same function for the same route. */
  counter(method: string, route: string): CountAnswer {
    const key = `${method} ${route}`;
    const known = this.#byRoute.get(key);
    if (known) return known;
    const classes = CLASSES.map((status) => new Series(method, route, status));
    this.#all.push(...classes);
    const count: CountAnswer = (status, elapsedMs) => classes[Math.floor(status / 100) - 1]?.observe(elapsedMs / 1_000);
    this.#byRoute.set(key, count);
    return count;
  }
}
