/**
 * Expressions that the dashboards' queries are made of. What every process reports alike (views, partitions, breakers)
 * is combined by `max`, what each process counts itself by `sum`. A metric that is never absent gives a value for every
 * figure of safety, so that an empty panel always means that nothing is read.
 */
import { CHOSEN } from "./panels.js";

const matching = (metric: string, match: string): string => `${metric}{${CHOSEN}${match === "" ? "" : `,${match}`}}`;
const by = (labels: string): string => (labels === "" ? "" : ` by (${labels})`);

/** The greatest value among processes; `labels` separated by commas. @param match further labels of the metric */
export const most = (metric: string, labels = "", match = ""): string =>
  `max${by(labels)} (${matching(metric, match)})`;

export const least = (metric: string): string => `min (${matching(metric, "")})`;

/** The sum over processes. */
export const total = (metric: string, labels = "", match = ""): string =>
  `sum${by(labels)} (${matching(metric, match)})`;

/** Of a counter, a second, over all processes. */
export const rate = (metric: string, labels = "", match = ""): string =>
  `sum${by(labels)} (rate(${matching(metric, match)}[$__rate_interval]))`;

/** Of a counter, how much it rose in an hour, over all processes. */
export const risen = (metric: string, labels = "", match = ""): string =>
  `sum${by(labels)} (increase(${matching(metric, match)}[1h]))`;

/** Of a counter that every process reports alike, how much it rose in an hour. */
export const mostRisen = (metric: string, labels = "", match = ""): string =>
  `max${by(labels)} (increase(${matching(metric, match)}[1h]))`;

/** A quantile of a histogram. */
export const quantile = (q: number, histogram: string, labels = "", match = ""): string => {
  const all = labels === "" ? "le" : `le, ${labels}`;
  return `histogram_quantile(${q}, ${rate(`${histogram}_bucket`, all, match)})`;
};

/** A quantile of a histogram over the last five minutes; 0 while nothing was measured. */
export const recentQuantile = (q: number, histogram: string): string =>
  `(histogram_quantile(${q}, sum by (le) (rate(${matching(`${histogram}_bucket`, "")}[5m]))) > 0) or vector(0)`;

/** Of each process. */
export const each = (metric: string): string => matching(metric, "");
