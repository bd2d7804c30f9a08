/**
 * What a check of an edge means: a list of questions about an observation, each answered with what was seen: fine, a
 * finding with the rule that is likely behind it, or not tested and why. Pure. R6 is judged by bodies, not by headers:
 * a header tells the likely cause only. It judges no age while the own clock is wrong.
 */
import { MAX_AGE_MS } from "../../../engine/publication/freshness.js";
import { type Advice, adviceOn, type FindingId } from "./advice.js";
import { cacheSignsOf, type EdgeKind } from "./cache-signs.js";
import { clockOffsetOf, clockText, isClockOff } from "./clock-offset.js";
import { type Generation, generationsOf } from "./generations.js";
import { ageHeader, browserCache, conditionalReads, headersKept } from "./header-findings.js";
import type { Observation } from "./observation.js";
import { bodyAgeMs, type Reading } from "./reader.js";

/** One question and its answer. */
export interface Check {
  /** What was asked, for example `body age`. */
  readonly name: string;
  readonly state: "ok" | "finding" | "untested";
  /** A sentence without a point at its end. */
  readonly seen: string;
  readonly finding?: FindingId;
  readonly advice?: Advice;
}

/** An answer before its advice is added. */
export type Answer = Omit<Check, "name" | "advice">;

/** An answer that the edge fetched for a reader is about as young as the engine's lag. */
const FRESH_AT_FIRST_MS = 4_000;
/** Of answers with the same lifetime, the ages at their ends differ by lag, whole seconds and slow reads: by less. */
const SAME_END_MS = 2_500;
/** More new answers than this in a second: nothing is cached, because `asOf` has whole seconds. */
const UNCACHED_PER_SECOND = 0.6;
const MAX_DETAIL = 200;
const CACHED_SPAN_MS = 4_000;
/** The engine itself refuses views that are older. */
const ENGINE_AGE_MS = 10_000;
/** Of a burst, reads that reached the next cache: an edge of several nodes has one each. */
const COLLAPSED_SHARE = 0.25;
/** Within this time a purge shows. */
const PURGE_MS = 3_000;

/** What an observation shows, in the order of a report. */
export function judge(observation: Observation): { readonly edge: EdgeKind; readonly checks: readonly Check[] } {
  const { readings } = observation;
  const shown = readings.filter(({ status, asOfMs }) => status === 200 && asOfMs !== undefined);
  const edge = edgeOf(shown.length > 0 ? shown : observation.cold);
  const named = (name: string, answer: Answer): Check => {
    const { finding } = answer;
    return finding === undefined ? { name, ...answer } : { name, ...answer, advice: adviceOn(finding, edge) };
  };
  const clock = named("clock", clockOf(observation));
  if (clock.state === "finding") return { edge, checks: [clock] };
  if (shown.length === 0) return { edge, checks: [clock, named("stock answer", noStock(readings))] };
  const generations = generationsOf(readings);
  return {
    edge,
    checks: [
      clock,
      named("body age", bodyAge(observation, generations)),
      named("after a pause", afterPause(observation.idle, generations)),
      named("cached", isCached(generations, observation)),
      named("headers", headersKept(shown, observation.origin)),
      named("304", conditionalReads(readings)),
      named("Age", ageHeader(generations)),
      named("browsers", browserCache(shown)),
      named("query", queryInKey(observation.idle)),
      named("collapsed", collapsed(observation.burst)),
      named("purge", purge(observation)),
      named("origin fails", originFails(observation, generations)),
    ],
  };
}

/** The kind that most readings name. */
function edgeOf(readings: readonly Reading[]): EdgeKind {
  const counts = new Map<EdgeKind, number>();
  for (const { headers } of readings) {
    const { edge } = cacheSignsOf(headers);
    counts.set(edge, (counts.get(edge) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0] ?? "unknown";
}

function clockOf({ cold, readings }: Observation): Answer {
  const offset = clockOffsetOf(cold);
  if (offset !== undefined && isClockOff(offset))
    return { state: "finding", finding: "clock", seen: `${clockText(offset)}: no age can be judged` };
  const youngestMs = Math.min(...readings.map(bodyAgeMs).filter((ageMs) => !Number.isNaN(ageMs)));
  if (youngestMs < -1_500)
    return {
      ...{ state: "finding", finding: "clock" },
      seen: `a body is as of ${seconds(-youngestMs)} in the future: no age can be judged`,
    };
  if (offset === undefined)
    return {
      state: "untested",
      seen: "the answers' Date headers do not tell the server's time: ages are by this machine's clock",
    };
  return { state: "ok", seen: clockText(offset) };
}

function noStock(readings: readonly Reading[]): Answer {
  const last = readings.at(-1);
  if (last === undefined || readings.every(({ status }) => status === 0))
    return {
      state: "finding",
      finding: "no_answer",
      seen: `none of ${readings.length} reads got an answer; the last: ${last?.fault ?? "none"}`,
    };
  return {
    state: "finding",
    finding: last.headers["location"] === undefined ? "no_stock" : "redirects",
    seen: `none of ${readings.length} answers had a body with asOf; the last: ${last.fault ?? answerOf(last)}`,
  };
}

/** With where it leads, the engine's own words if it answered, or what came instead of its JSON. */
function answerOf({ status, headers, body }: Reading): string {
  const { location, "content-type": type } = headers;
  const detail = body?.["detail"];
  const more =
    location !== undefined
      ? `to ${location}`
      : typeof detail === "string"
        ? detail
        : body === undefined
          ? type
          : "JSON";
  return `status ${status}${more === undefined ? "" : `, ${more.slice(0, MAX_DETAIL)}`}`;
}

function bodyAge({ readings, origin }: Observation, generations: readonly Generation[]): Answer {
  const ages = readings
    .map(bodyAgeMs)
    .filter((ageMs) => !Number.isNaN(ageMs))
    .sort((a, b) => a - b);
  const at = (share: number) => seconds(ages[Math.min(ages.length - 1, Math.floor(ages.length * share))] ?? 0);
  const summary = `p50 ${at(0.5)}, p99 ${at(0.99)}, oldest ${at(1)} of ${ages.length} bodies; ${seconds(MAX_AGE_MS)} are allowed`;
  const oldest = generations.reduce((a, b) => (b.lastAgeMs > a.lastAgeMs ? b : a));
  if (oldest.lastAgeMs <= MAX_AGE_MS) return { state: "ok", seen: summary };
  const engineMs = Math.max(0, ...origin.map(bodyAgeMs).filter((ageMs) => !Number.isNaN(ageMs)));
  if (engineMs > ENGINE_AGE_MS)
    return {
      state: "finding",
      finding: "engine_old",
      seen: `${summary}; the engine's own answers were up to ${seconds(engineMs)} old`,
    };
  const finding = causeOf(oldest, generations, origin);
  return { state: "finding", finding, seen: `${summary}; ${STORY[finding](oldest)}` };
}

type AgeFinding = "overrides_ttl" | "adds_age" | "serves_stale";

/** What the oldest answer's time at the edge looked like. */
const STORY: Readonly<Record<AgeFinding, (oldest: Generation) => string>> = {
  overrides_ttl: ({ firstAgeMs, lastAgeMs }) =>
    `an answer that was ${seconds(firstAgeMs)} old was served until it was ${seconds(lastAgeMs)} old`,
  adds_age: ({ firstAgeMs, lastAgeMs }) =>
    `an answer was ${seconds(firstAgeMs)} old when the edge fetched it from another cache, and was served until ${seconds(lastAgeMs)}`,
  serves_stale: ({ lastAgeMs }) =>
    `other answers were replaced in time, one was served until it was ${seconds(lastAgeMs)} old, as if the origin had failed`,
};

function causeOf(oldest: Generation, generations: readonly Generation[], origin: readonly Reading[]): AgeFinding {
  const late = oldest.readings.filter((reading) => bodyAgeMs(reading) > MAX_AGE_MS);
  if (late.some(({ headers }) => cacheSignsOf(headers).outcome === "stale")) return "serves_stale";
  const [from = 0, to = 0] = [late[0]?.sentMs, late.at(-1)?.receivedMs];
  if (
    origin.some(
      ({ status, receivedMs }) =>
        (status === 0 || status >= 500) && receivedMs >= from - MAX_AGE_MS && receivedMs <= to,
    )
  )
    return "serves_stale";
  const isFetchedOld = ({ isStartSeen, firstAgeMs }: Generation) => isStartSeen && firstAgeMs >= FRESH_AT_FIRST_MS;
  if (isFetchedOld(oldest)) return "adds_age";
  const others = generations.filter((each) => each !== oldest);
  if (!oldest.isStartSeen && oldest.firstAgeMs >= FRESH_AT_FIRST_MS && others.some(isFetchedOld)) return "adds_age";
  const ordinaryMs = Math.min(MAX_AGE_MS, oldest.lastAgeMs - SAME_END_MS);
  const endedInTime = ({ isEndSeen, lastAgeMs }: Generation) => isEndSeen && lastAgeMs <= ordinaryMs;
  return others.some(endedInTime) ? "serves_stale" : "overrides_ttl";
}

function afterPause([first, second]: readonly Reading[], generations: readonly Generation[]): Answer {
  if (first?.asOfMs === undefined || second?.asOfMs === undefined)
    return { state: "untested", seen: "no second answer after a pause of 16.5 s: check for at least 20 s" };
  const ageMs = bodyAgeMs(second);
  const seen = `the first answer after ${seconds(second.sentMs - first.receivedMs)} without a reader was ${seconds(ageMs)} old`;
  if (ageMs <= MAX_AGE_MS) return { state: "ok", seen };
  // The same rule is behind both.
  if (generations.some(({ lastAgeMs }) => lastAgeMs > MAX_AGE_MS))
    return { state: "untested", seen: `${seen}: see body age` };
  return { state: "finding", finding: "idle_stale", seen };
}

function isCached(generations: readonly Generation[], { readings }: Observation): Answer {
  const spanMs = (readings.at(-1)?.sentMs ?? 0) - (readings[0]?.sentMs ?? 0);
  if (spanMs < CACHED_SPAN_MS) return { state: "untested", seen: "it was read for too short a time" };
  const perSecond = generations.length / Math.max(1, spanMs / 1_000);
  const seen = `different answers in ${seconds(spanMs)}: ${generations.length}`;
  if (perSecond > UNCACHED_PER_SECOND) return { state: "finding", finding: "not_cached", seen };
  const ended = generations.filter(({ isStartSeen, isEndSeen }) => isStartSeen && isEndSeen);
  const longest =
    ended.length === 0 ? "" : `, replaced at up to ${seconds(Math.max(...ended.map(({ lastAgeMs }) => lastAgeMs)))}`;
  return { state: "ok", seen: `${seen}${longest}` };
}

function queryInKey([first]: readonly Reading[]): Answer {
  if (first?.body === undefined || first.status !== 200)
    return { state: "untested", seen: "no answer to ?by=location" };
  if (!Array.isArray(first.body["locations"]))
    return {
      state: "finding",
      finding: "key_ignores_query",
      seen: "?by=location got the answer of the address without it",
    };
  return { state: "ok", seen: "an address with a query has its own answer" };
}

function collapsed(burst: readonly Reading[]): Answer {
  const answered = burst.filter(({ status }) => status > 0 && status < 500);
  const signs = answered.map(({ headers }) => cacheSignsOf(headers));
  if (answered.length === 0 || signs.some(({ outcome }) => outcome === "unknown"))
    return { state: "untested", seen: "the edge does not say which answers it had stored (Cache-Status)" };
  const misses = signs.filter(({ outcome, isCollapsed }) => outcome === "miss" && !isCollapsed).length;
  const seen = `of ${answered.length} simultaneous reads of a new address ${misses} went past the edge`;
  return misses <= Math.max(1, answered.length * COLLAPSED_SHARE)
    ? { state: "ok", seen }
    : { state: "finding", finding: "not_collapsed", seen };
}

function purge({ purged, readings, origin }: Observation): Answer {
  if (purged === undefined) return { state: "untested", seen: changeSeen(readings, origin) };
  const { answer, asOfMs } = purged;
  if (answer.status < 200 || answer.status >= 300)
    return {
      state: "finding",
      finding: "ignores_purge",
      seen: `the purge was answered ${answer.fault ?? answer.status}`,
    };
  const after = readings.filter(({ sentMs }) => sentMs >= answer.receivedMs && sentMs <= answer.receivedMs + PURGE_MS);
  const newer = after.find((reading) => (reading.asOfMs ?? 0) > asOfMs);
  if (newer === undefined)
    return {
      state: "finding",
      finding: "ignores_purge",
      seen: `the old answer was still served ${seconds(PURGE_MS)} after the purge`,
    };
  return {
    state: "ok",
    seen: `a newer answer was served ${seconds(newer.receivedMs - answer.receivedMs)} after the purge`,
  };
}

/** How long after the engine's own answer the edge shows that the SKU sold out or came back. */
function changeSeen(readings: readonly Reading[], origin: readonly Reading[]): string {
  const shown = origin.filter(({ body }) => typeof body?.["available"] === "boolean");
  const changed = shown.find(({ body }, i) => i > 0 && body?.["available"] !== shown[i - 1]?.body?.["available"]);
  if (changed === undefined)
    return "name the edge's address for purges (--purge-url), or the engine's (--origin) while a SKU sells out";
  const followed = readings.find(
    ({ receivedMs, body }) => receivedMs >= changed.receivedMs && body?.["available"] === changed.body?.["available"],
  );
  return followed === undefined
    ? "the SKU sold out or came back, and the edge had not shown it at the end"
    : `the SKU sold out or came back: seen here ${seconds(followed.receivedMs - changed.receivedMs)} after the engine's own answer`;
}

function originFails({ readings }: Observation, generations: readonly Generation[]): Answer {
  const late = generations.find(({ lastAgeMs }) => lastAgeMs > MAX_AGE_MS);
  const failed = readings.filter(({ status }) => status === 0 || status >= 500);
  const stale = readings.filter(({ headers }) => cacheSignsOf(headers).outcome === "stale").length;
  if (stale > 0 && late === undefined)
    return {
      state: "ok",
      seen: `${stale} answers past their lifetime were served, none older than ${seconds(MAX_AGE_MS)}`,
    };
  if (failed.length > 0 && late === undefined)
    return {
      state: "ok",
      seen: `${failed.length} requests failed (${failed[0]?.fault ?? failed[0]?.status}), and no old answer was served instead`,
    };
  return { state: "untested", seen: late === undefined ? "the origin did not fail meanwhile" : "see body age" };
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
