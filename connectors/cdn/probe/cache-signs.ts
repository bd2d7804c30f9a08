/**
 * What the headers of an answer tell about the caches before it: whose cache it is, whether it answered from its store
 * or asked the next one, and whether it knew that its answer was past its lifetime. It reads Cache-Status (RFC 9211),
 * Age, Warning, and the headers that CDNs had before that standard. Headers are claims: a cache may send none, or wrong
 * ones, so nothing here says how old a body is.
 */

/** Header values by lower-case name; several values of one name are joined by ", ". */
export type Headers = Readonly<Record<string, string>>;

/** Kinds of caches that the advice knows. */
export type EdgeKind = "nginx" | "varnish" | "cloudflare" | "fastly" | "alibaba" | "tencent" | "unknown";

export interface CacheSigns {
  readonly edge: EdgeKind;
  /** Of the cache that is nearest to the reader. `stale`: it served an answer past its lifetime, knowingly. */
  readonly outcome: "hit" | "miss" | "stale" | "unknown";
  /** The request waited for another one for the same answer. */
  readonly isCollapsed: boolean;
  /** Seconds; NaN: the header is no number. Undefined: no header. */
  readonly ageSeconds: number | undefined;
}

/** One cache of a Cache-Status header. */
export interface CacheStatus {
  readonly cache: string;
  /** Parameters by name; one without a value is `true`. */
  readonly parameters: ReadonlyMap<string, string | true>;
}

/** A header has few caches; what is beyond is not read. */
const MAX_MEMBERS = 16;

export function cacheSignsOf(headers: Headers): CacheSigns {
  const nearest = parseCacheStatus(headers["cache-status"] ?? "").at(-1);
  const age = headers["age"];
  return {
    edge: edgeOf(headers, nearest),
    outcome: isMarkedStale(headers["warning"]) ? "stale" : outcomeOf(headers, nearest),
    isCollapsed: nearest?.parameters.get("collapsed") === true || nearest?.parameters.get("collapsed") === "?1",
    ageSeconds: age === undefined ? undefined : /^\d+$/.test(age) ? Number(age) : Number.NaN,
  };
}

/** The caches of a Cache-Status header, the one nearest to the origin first. What cannot be read is left out. */
export function parseCacheStatus(text: string): readonly CacheStatus[] {
  return splitOutsideQuotes(text, ",")
    .slice(-MAX_MEMBERS)
    .flatMap((member) => {
      const [name = "", ...pairs] = splitOutsideQuotes(member, ";");
      const cache = unquoted(name);
      if (cache === "") return [];
      const parameters = new Map<string, string | true>();
      for (const pair of pairs) {
        const at = pair.indexOf("=");
        if (at === -1) parameters.set(pair.toLowerCase(), true);
        else parameters.set(pair.slice(0, at).trim().toLowerCase(), unquoted(pair.slice(at + 1).trim()));
      }
      return [{ cache, parameters }];
    });
}

/** Parts without surrounding blanks; empty ones are left out. */
function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts: string[] = [];
  let [begin, isQuoted] = [0, false];
  for (let i = 0; i < text.length; i++) {
    if (isQuoted && text[i] === "\\") i++;
    else if (text[i] === '"') isQuoted = !isQuoted;
    else if (!isQuoted && text[i] === separator) {
      parts.push(text.slice(begin, i));
      begin = i + 1;
    }
  }
  parts.push(text.slice(begin));
  return parts.map((part) => part.trim()).filter((part) => part !== "");
}

const unquoted = (text: string): string =>
  text.startsWith('"') && text.endsWith('"') && text.length > 1 ? text.slice(1, -1).replace(/\\(.)/g, "$1") : text;

/** Warning 110 (response is stale) and 111 (revalidation failed), of RFC 7234. */
const isMarkedStale = (warning: string | undefined): boolean => /(?:^|,\s*)11[01]\b/.test(warning ?? "");

function outcomeOf(headers: Headers, nearest: CacheStatus | undefined): CacheSigns["outcome"] {
  if (nearest !== undefined) {
    const { parameters } = nearest;
    if (parameters.has("hit")) return Number(parameters.get("ttl")) < 0 ? "stale" : "hit";
    // The next one failed, and an answer that was past its lifetime was served in its place.
    if (parameters.get("fwd") === "stale" && Number(parameters.get("fwd-status")) >= 500) return "stale";
    if (parameters.has("fwd")) return "miss";
  }
  for (const name of ["cf-cache-status", "x-cache-status", "x-proxy-cache", "x-cache", "x-cache-lookup"]) {
    // Of several caches the nearest is named last.
    const word = headers[name]?.split(",").at(-1)?.trim() ?? "";
    if (/stale|updating/i.test(word)) return "stale";
    if (/hit|revalidated/i.test(word)) return "hit";
    if (/miss|expired|bypass|dynamic|pass/i.test(word)) return "miss";
  }
  // Varnish: its own number of the request, and that of the one that stored the answer.
  const numbers = headers["x-varnish"]?.split(",").at(-1)?.trim().split(/\s+/).length;
  return numbers === undefined ? "unknown" : numbers > 1 ? "hit" : "miss";
}

function edgeOf(headers: Headers, nearest: CacheStatus | undefined): EdgeKind {
  const named = ["nginx", "varnish", "cloudflare", "fastly"] as const;
  const { server = "", via = "" } = headers;
  const has = (...names: string[]) => names.some((name) => headers[name] !== undefined);
  if (has("cf-ray", "cf-cache-status") || /^cloudflare/i.test(server)) return "cloudflare";
  if (has("x-fastly-request-id", "fastly-debug-path") || /^cache-/.test(headers["x-served-by"] ?? "")) return "fastly";
  if (has("eagleid", "ali-swift-global-savetime", "x-swift-savetime", "x-swift-cachetime")) return "alibaba";
  if (has("x-nws-log-uuid", "eo-cache-status", "x-cache-lookup")) return "tencent";
  const byName = named.find((name) => nearest?.cache.toLowerCase().includes(name));
  if (byName !== undefined) return byName;
  if (has("x-varnish") || /varnish/i.test(via)) return "varnish";
  return /^(?:nginx|openresty|tengine)/i.test(server) ? "nginx" : "unknown";
}
