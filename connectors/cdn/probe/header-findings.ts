/**
 * Questions about the headers that reach a reader: whether they are there, whether a conditional read gets 304, whether
 * Age is a number that grows, and how long a browser may keep an answer. Pure. The headers for CDNs may end at the
 * edge; one that reaches the reader is no fault.
 */
import { MAX_AGE_MS } from "../../../engine/publication/freshness.js";
import { cacheSignsOf } from "./cache-signs.js";
import type { Answer } from "./findings.js";
import type { Generation } from "./generations.js";
import { bodyAgeMs, type Reading } from "./reader.js";

/** Headers of the engine that a browser or a page needs. */
const NEEDED = ["cache-control", "etag", "date"];
/** Needed by pages of another site, if the engine sends them. */
const PASSED_ON = ["access-control-allow-origin", "access-control-expose-headers"];
/** In Cache-Control a browser would follow them, too. */
const STALE_DIRECTIVES = /stale-while-revalidate|stale-if-error|immutable/;
/** Age and body age are whole seconds, cut at different places. */
const AGE_TOLERANCE_S = 2.5;

/** @param origin the engine's own answers, where its address is known */
export function headersKept(shown: readonly Reading[], origin: readonly Reading[]): Answer {
  const sent = PASSED_ON.filter((name) => origin.some(({ headers }) => headers[name] !== undefined));
  const missing = [...NEEDED, ...sent].filter((name) => shown.some(({ headers }) => headers[name] === undefined));
  if (missing.length > 0)
    return { state: "finding", finding: "headers", seen: `answers came without ${missing.join(" and ")}` };
  const control = shown.map(({ headers }) => headers["cache-control"] ?? "");
  const stale = control.find((value) => STALE_DIRECTIVES.test(value));
  if (stale !== undefined)
    return { state: "finding", finding: "headers", seen: `Cache-Control is "${stale}", which a browser follows, too` };
  const unlimited = control.find((value) => !/max-age=\d|no-store|no-cache/.test(value));
  if (unlimited !== undefined)
    return {
      state: "finding",
      finding: "headers",
      seen: `Cache-Control is "${unlimited}", which sets browsers no limit`,
    };
  return { state: "ok", seen: `Cache-Control "${control.at(-1)}", with ETag and Date` };
}

export function conditionalReads(readings: readonly Reading[]): Answer {
  const conditional = readings.filter(({ known, status }) => known !== undefined && status > 0 && status < 500);
  const same = conditional.filter(({ known, status, headers }) => status === 200 && isSame(known, headers["etag"]));
  const notModified = conditional.filter(({ status }) => status === 304).length;
  if (same.length > 0)
    return {
      ...{ state: "finding", finding: "conditional" },
      seen: `${same.length} of ${conditional.length} reads with If-None-Match got the same answer again, with status 200`,
    };
  if (notModified === 0)
    return { state: "untested", seen: "no answer stayed the same between two reads, or none had an ETag" };
  return { state: "ok", seen: `${notModified} of ${conditional.length} reads with If-None-Match got 304` };
}

export function ageHeader(generations: readonly Generation[]): Answer {
  let known = 0;
  for (const { readings } of generations) {
    const [first] = readings;
    for (const reading of readings) {
      const { ageSeconds } = cacheSignsOf(reading.headers);
      if (ageSeconds === undefined) continue;
      known++;
      const age = `Age is ${reading.headers["age"]}`;
      if (Number.isNaN(ageSeconds)) return { state: "finding", finding: "age_header", seen: age };
      const bodySeconds = bodyAgeMs(reading) / 1_000;
      if (ageSeconds > bodySeconds + AGE_TOLERANCE_S)
        return {
          state: "finding",
          finding: "age_header",
          seen: `${age}, and the body is ${bodySeconds.toFixed(1)} s old`,
        };
      const heldSeconds = (reading.receivedMs - (first?.receivedMs ?? 0)) / 1_000;
      if (ageSeconds < heldSeconds - AGE_TOLERANCE_S)
        return {
          ...{ state: "finding", finding: "age_header" },
          seen: `${age}, and the same answer was served ${heldSeconds.toFixed(1)} s before`,
        };
    }
  }
  return known === 0
    ? { state: "ok", seen: "no Age: further caches behind this one cannot subtract it" }
    : { state: "ok", seen: `${known} answers had an Age that fits` };
}

export function browserCache(shown: readonly Reading[]): Answer {
  let oldestSeconds = 0;
  for (const reading of shown) {
    const maxAge = /(?:^|[\s,])max-age=(\d+)/.exec(reading.headers["cache-control"] ?? "")?.[1];
    const { ageSeconds = 0 } = cacheSignsOf(reading.headers);
    const keptSeconds = Math.max(0, Number(maxAge ?? 0) - (Number.isNaN(ageSeconds) ? 0 : ageSeconds));
    if (keptSeconds > 0) oldestSeconds = Math.max(oldestSeconds, keptSeconds + bodyAgeMs(reading) / 1_000);
  }
  if (oldestSeconds === 0) return { state: "ok", seen: "a browser asks again each time" };
  const seen = `a browser may show an answer until it is ${oldestSeconds.toFixed(1)} s old`;
  return oldestSeconds * 1_000 > MAX_AGE_MS ? { state: "finding", finding: "browser", seen } : { state: "ok", seen };
}

/** Weak comparison (RFC 9110): an edge that compresses marks the tag as weak. */
const isSame = (known: string | undefined, etag: string | undefined): boolean =>
  known !== undefined && etag !== undefined && known.replace(/^W\//, "") === etag.replace(/^W\//, "");
