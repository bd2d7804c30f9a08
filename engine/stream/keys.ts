/**
 * Makes every Redis key of the engine; no other file makes one. All keys of a partition share one hash tag, so they are
 * in one slot of a Redis Cluster and one function call may use them all. A prefix separates the deployments of one
 * Redis. The few keys that belong to no partition are at the end.
 */

export interface PartitionKeys {
  /** Hash: the log's last offset, the partition's clock. */
  head: string;
  /** Stream: the partition's log; entry ids are `<offset>-0`, offsets without gaps. */
  log: string;
  /** Hash: lease, epoch, commit number, cursors and watermark of the task that reads the log. */
  task: string;
  /** Sorted set: durable timers by event time. */
  timers: string;
  /**
   * Stream: what views read of commits, and before format 3 the emits, too; entry ids are `<commit number>-0`. Stored
   * name.
   */
  out: string;
  /** Stream: what sinks read of commits, from format 3 on; entry ids as above. */
  emits: string;
  /** Stream: records that could not be processed; ids are the times when they became dead letters. */
  deadLetters: string;
  /** Hash: log entries of dead letters, each stored once. */
  deadEntries: string;
  /** Sorted set: dead letters whose replay is requested, by offset. */
  deadRequests: string;
  /** Stream: who replayed or removed dead letters, the engine included. */
  deadActions: string;
  /** Hash: sinks and forwarders that read the emits, each with the time when it last registered itself. */
  sinks: string;
  /** Hash: keyed state of one job. */
  state(job: string): string;
  /** Hash: states of one job before their first change in a period, by key; it expires. */
  closings(job: string, period: number): string;
  /** Sorted set: index of one job's states, `<name>\u001f<key>` by score. */
  index(job: string): string;
  /** Hash: how many entries of each name the index has. */
  indexCounts(job: string): string;
}

export interface StockKeys extends PartitionKeys {
  /** Hash: balances by cell. */
  cells: string;
  /** Sorted set: held lines by the time they expire. */
  holds: string;
  /** Hash: open breakers by scope. */
  breakers: string;
  /** Hash: remembered ids of one UTC day; the function appends the day's number for expiries. */
  linesBase: string;
  lines(day: number): string;
  /** Sorted set: cells that were corrected, by the time of the last correction. */
  corrected: string;
  /** Sorted set: corrections that settled a difference, by the time of the event. */
  settled: string;
}

export interface OrderKeys extends PartitionKeys {
  /** Hash: orders of one UTC day by id. */
  orders(day: number): string;
  ordersBase: string;
  /** Hash: recipients of these orders, until they are erased. */
  buyers(day: number): string;
  buyersBase: string;
  /** Sorted set: orders that may hold a buyer's text, by the time at which it is erased. */
  erasures: string;
  /** Set: days that have orders. */
  orderDays: string;
  /** Hash: end times of orders that ended long after their day. */
  lateEnds: string;
}

export interface EventKeys extends PartitionKeys {
  /** Hash: the state of each schedule of an event topic, by its name. */
  schedules: string;
  /** Hash: what was taken from each partition of other topics, for forwarders. */
  producers: string;
}

const tag = (prefix: string, topic: string, partition: number): string =>
  `${prefix}:{${topic}:${String(partition).padStart(2, "0")}}`;

export function partitionKeys(prefix: string, topic: string, partition: number): PartitionKeys {
  return keysUnder(tag(prefix, topic, partition));
}

/** The same for a sink, which is a task whose logs are the partition's `out` and `emits`. */
export function sinkKeys(prefix: string, topic: string, partition: number, sink: string): PartitionKeys {
  const base = tag(prefix, topic, partition);
  return { ...keysUnder(`${base}:sink:${sink}`), log: `${base}:emits` };
}

/** The same for what archives the log of a partition. */
export function archiveKeys(prefix: string, topic: string, partition: number): PartitionKeys {
  const base = tag(prefix, topic, partition);
  return { ...keysUnder(`${base}:archive`), log: `${base}:log` };
}

/** Of the recorder of series: a task with a lease, and the series that it writes. */
export interface SeriesKeys extends PartitionKeys {
  /** Hash: packed points of a SKU or a figure; it expires. */
  series(name: string): string;
  /** Time series of a Redis that has them: one of its columns in one resolution. */
  samples(name: string, resolution: string, column: string): string;
}

/** @param owner the stock partition whose SKUs are recorded, or `figures` of the engine */
export function seriesKeys(prefix: string, owner: number | "figures"): SeriesKeys {
  const base = owner === "figures" ? `${prefix}:{figures}` : `${tag(prefix, "stock", owner)}:series`;
  return {
    ...keysUnder(base),
    series: (name) => `${base}:of:${name}`,
    samples: (name, resolution, column) => `${base}:${resolution}:${column}:${name}`,
  };
}

function keysUnder(base: string): PartitionKeys {
  return {
    head: `${base}:head`,
    log: `${base}:log`,
    task: `${base}:task`,
    timers: `${base}:timers`,
    out: `${base}:out`,
    emits: `${base}:emits`,
    deadLetters: `${base}:dead-letters`,
    deadEntries: `${base}:dead-entries`,
    deadRequests: `${base}:dead-requests`,
    deadActions: `${base}:dead-actions`,
    sinks: `${base}:sinks`,
    state: (job) => `${base}:state:${job}`,
    closings: (job, period) => `${base}:closings:${job}:${period}`,
    index: (job) => `${base}:index:${job}`,
    indexCounts: (job) => `${base}:index-counts:${job}`,
  };
}

export function stockKeys(prefix: string, partition: number): StockKeys {
  const base = tag(prefix, "stock", partition);
  return {
    ...partitionKeys(prefix, "stock", partition),
    cells: `${base}:cells`,
    holds: `${base}:holds`,
    breakers: `${base}:gates`,
    linesBase: `${base}:lines:`,
    lines: (day) => `${base}:lines:${day}`,
    corrected: `${base}:corrected`,
    settled: `${base}:settled`,
  };
}

export function orderKeys(prefix: string, partition: number): OrderKeys {
  const base = tag(prefix, "orders", partition);
  return {
    ...partitionKeys(prefix, "orders", partition),
    orders: (day) => `${base}:orders:${day}`,
    ordersBase: `${base}:orders:`,
    buyers: (day) => `${base}:buyers:${day}`,
    buyersBase: `${base}:buyers:`,
    erasures: `${base}:erasures`,
    orderDays: `${base}:order-days`,
    lateEnds: `${base}:late-ends`,
  };
}

export function eventKeys(prefix: string, topic: string, partition: number): EventKeys {
  const base = tag(prefix, topic, partition);
  return {
    ...partitionKeys(prefix, topic, partition),
    schedules: `${base}:schedules`,
    producers: `${base}:producers`,
  };
}

/** What sources report in parts: `snapshots`, or `movements`. Each kind's registry is in one slot. */
export interface ReportKeys {
  /** Hash: the header of each report, by `<source>/<id>`. */
  headers: string;
  /** Hash: how each report ended, by the same name. */
  ends: string;
  /** Hash: reports whose completion was made known, by the same name. */
  announced: string;
  /** Hash: the parts of one report by their number; it expires. */
  parts(name: string): string;
  /** String that expires: what one process does for all of them at an instant. */
  claim(name: string): string;
  /** List: packed rows of one part in one partition; it expires. */
  rows(partition: number, writer: string): string;
}

export function reportKeys(prefix: string, kind: "snapshots" | "movements"): ReportKeys {
  const base = `${prefix}:{${kind}}`;
  return {
    headers: `${base}:headers`,
    ends: `${base}:ends`,
    announced: `${base}:announced`,
    parts: (name) => `${base}:parts:${name}`,
    claim: (name) => `${base}:claim:${name}`,
    rows: (partition, writer) => `${tag(prefix, kind, partition)}:rows:${writer}`,
  };
}

/** Comparisons of sources; all keys are in one slot. */
export interface ComparisonKeys {
  /** Sorted set: the comparisons' ids by the time at which each was made. */
  order: string;
  /** Hash: packed comparisons by their ids. */
  summaries: string;
  /** String that expires: the packed differences of one comparison. */
  differences(id: string): string;
  /** Hash: how many bytes of differences each comparison has. */
  differenceBytes: string;
  /** Hash: the newest value of each pair of parties. */
  live: string;
  /** String that expires: the packed gaps between a source's snapshot and the ledger. */
  gaps(source: string): string;
}

export function comparisonKeys(prefix: string): ComparisonKeys {
  const base = `${prefix}:{comparisons}`;
  return {
    order: `${base}:order`,
    summaries: `${base}:summaries`,
    differences: (id) => `${base}:differences:${id}`,
    differenceBytes: `${base}:difference-bytes`,
    live: `${base}:live`,
    gaps: (source) => `${base}:gaps:${source}`,
  };
}

/** What is recorded about the sources that are pulled, for all processes; one slot. */
export interface SourceListKeys {
  /** Hash: each configured source, by its name, and under `*` what is configured for all. */
  configured: string;
  /** Hash: how the pulls of each source went, by `<source>/<what is pulled>`. */
  states: string;
  /** Hash: the newest request to pull a source at once, by its name. */
  requests: string;
}

export function sourceListKeys(prefix: string): SourceListKeys {
  const base = `${prefix}:{sources}`;
  return { configured: `${base}:configured`, states: `${base}:states`, requests: `${base}:requests` };
}

/** Of one source that is pulled: a task with a lease, and what its next pull continues from. */
export interface SourceKeys extends PartitionKeys {
  /** Hash: of a source of changes, the newest units of each cell. */
  cells: string;
  /** Hash: cursors of its pulls. */
  progress: string;
}

export function sourceKeys(prefix: string, source: string): SourceKeys {
  const base = `${prefix}:{source:${source}}`;
  return { ...keysUnder(base), cells: `${base}:cells`, progress: `${base}:progress` };
}

/** What the storefront is shown, as published: a task with a lease, the manifest and its objects. */
export interface PublicationKeys extends PartitionKeys {
  /** Hash: the newest manifest, its version, and the epoch of its writer. */
  manifest: string;
  /** Hash: the compressed forms of an object. Objects are spread over the slots. */
  object(name: string): string;
}

export function publicationKeys(prefix: string): PublicationKeys {
  const base = `${prefix}:{publication}`;
  return {
    ...keysUnder(base),
    manifest: `${base}:manifest`,
    object: (name) => `${prefix}:published:${name}`,
  };
}

/** Hash: what was fixed when the deployment was created, and its format. */
export const deploymentKey = (prefix: string): string => `${prefix}:deployment`;

/** A pattern of every key of a deployment, and of no other's. */
export const keysOfDeployment = (prefix: string): string => `${prefix}:*`;

/** Sorted set: workers of a topic by the time at which each expires. */
export const workersKey = (prefix: string, topic: string): string => `${prefix}:workers:${topic}`;

/** Sorted set: processes of the deployment, each with its release, by the time at which each expires. */
export const processesKey = (prefix: string): string => `${prefix}:processes`;

/**
 * Sorted set: function libraries, which all deployments of a Redis share, by the time at which a process last recorded
 * its use.
 */
export const LIBRARIES_KEY = "shuiwei-function-libraries";

/** Hash: the request rate to a receiver that all workers share. */
export const rateLimiterKey = (prefix: string, receiver: string): string => `${prefix}:pace:${receiver}`;

/** Hash: what all workers have sent to a CDN, and when the next request may follow. */
export const purgeLimitsKey = (prefix: string, cdn: string): string => `${prefix}:purges:${cdn}`;

/** Of one address of a channel of notifications; one hash tag, so that one call reads and writes all of it. */
export interface ChannelAddressKeys {
  /** List: when requests were sent in the last minute, the newest first. */
  times: string;
  /** String that expires: nothing is sent while it exists. */
  hold: string;
  /** String that expires: the address has this message. */
  accepted(messageId: string): string;
  /** String that expires: for whom the address is sent this alert, or has accepted it. */
  alert(alertId: string): string;
}

export function channelAddressKeys(prefix: string, channel: string, to: string): ChannelAddressKeys {
  // A user id may have any character, a brace of the hash tag included.
  const base = `${prefix}:{channel:${channel}:${encodeURIComponent(to)}}`;
  return {
    times: `${base}:times`,
    hold: `${base}:hold`,
    accepted: (id) => `${base}:accepted:${id}`,
    alert: (id) => `${base}:alert:${id}`,
  };
}

/** Hash: the wanted state of each breaker, by its scope. */
export const breakersKey = (prefix: string): string => `${prefix}:breakers`;

/** Hash: settings of each category of SKUs. */
export const categoriesKey = (prefix: string): string => `${prefix}:categories`;

/** Hash: browser sessions by the hash of their secrets. */
export const sessionsKey = (prefix: string): string => `${prefix}:sessions`;

/** String that expires: the grant of a pairing code, by the code's hash. */
export const pairingKey = (prefix: string, digest: string): string => `${prefix}:pairing:${digest}`;

/** Who is notified of alerts, where, and what is silenced; all keys are in one slot. */
export interface AlertingKeys {
  /** Hash: parts of each person, by `<id>/<part>`. */
  people: string;
  /** Hash: parts of each device, by `<id>/<part>`. */
  devices: string;
  /** Hash: silences by their ids, and when one was ended, by `<id>/end`. */
  silences: string;
}

export function alertingKeys(prefix: string): AlertingKeys {
  const base = `${prefix}:{alerting}`;
  return { people: `${base}:people`, devices: `${base}:devices`, silences: `${base}:silences` };
}

/** String: the key pair of this deployment for push services; its private half is a secret. */
export const vapidKeysKey = (prefix: string): string => `${prefix}:vapid-keys`;

/** Receipts on their way; all keys are in one slot. */
export interface InboundKeys {
  /** Hash: receipts by their ids, and their arrivals by `<receipt>/<arrival>`. */
  records: string;
  /** String: how often they have changed. */
  version: string;
}

export function inboundKeys(prefix: string): InboundKeys {
  const base = `${prefix}:{inbound}`;
  return { records: `${base}:records`, version: `${base}:version` };
}

/** Keys of settlements have one hash tag, so that what one request reads and writes of a comparison is in one slot. */
const settlementKey = (prefix: string, name: string): string => `${prefix}:{settlement}:${name}`;

/** Hash: what is proposed for each row of a comparison, by the row's key; it expires. */
export const settlementProposalsKey = (prefix: string, comparison: string): string =>
  settlementKey(prefix, `proposals:${comparison}`);

/** Hash: what was decided about each row of a comparison, and how it ended; it expires. */
export const settlementDecisionsKey = (prefix: string, comparison: string): string =>
  settlementKey(prefix, `decisions:${comparison}`);

/** Sorted set: ids of decided proposals by the time of the decision. */
export const settlementLogKey = (prefix: string): string => settlementKey(prefix, "log");
