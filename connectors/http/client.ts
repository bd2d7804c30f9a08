/**
 * The client's address, and which server the client believes it talks to. One address counts as one client; so does an
 * IPv6 network of 64 bits, because its owner has all of its addresses. A Host header with an unknown name shows DNS
 * rebinding: a web page that points a name of its own at this machine. That needs a name, so addresses are always
 * accepted.
 */
import type { IncomingMessage } from "node:http";
import { isIP, isIPv6 } from "node:net";

/** As `networkOf` names them. */
const LOCAL: ReadonlySet<string> = new Set(["127.0.0.1", "0:0:0:0::/64"]);

/** The client's address; with a trusted proxy the last one of X-Forwarded-For, which the proxy has appended. */
export function addressOf({ headers, socket }: IncomingMessage, trustProxy: boolean): string {
  const forwarded = trustProxy ? headers["x-forwarded-for"] : undefined;
  const last = [forwarded ?? []].flat().at(-1)?.split(",").at(-1)?.trim() ?? "";
  return networkOf(isIP(last) > 0 ? last : (socket.remoteAddress ?? "unknown"));
}

/**
 * The client for which a quota counts; undefined for programs of this machine: one of them may be a proxy that does
 * not forward addresses.
 */
export function quotaClientOf(request: IncomingMessage, trustProxy: boolean): string | undefined {
  return unlessLocal(addressOf(request, trustProxy));
}

/** The client for which a connection counts, by its own address; undefined for this machine. */
export const clientOf = (address: string | undefined): string | undefined =>
  unlessLocal(networkOf(address ?? "unknown"));

const unlessLocal = (address: string): string | undefined => (LOCAL.has(address) ? undefined : address);

/** An IPv4 address, or the first 64 bits of an IPv6 address. */
export function networkOf(address: string): string {
  const plain = address.replace(/%.*$/, "");
  if (!isIPv6(plain)) return plain;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1];
  if (mapped !== undefined) return mapped;
  const [before = "", after] = plain.split("::");
  const head = before === "" ? [] : before.split(":");
  const tail = after === undefined || after === "" ? [] : after.split(":");
  const zeros = after === undefined ? 0 : 8 - head.length - tail.length - (plain.includes(".") ? 1 : 0);
  const groups = [...head, ...new Array<string>(Math.max(0, zeros)).fill("0"), ...tail];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}

/** The name or address in a Host header, without its port and in lower case; undefined when it is invalid. */
function hostNameOf(host: string): string | undefined {
  const [, bracketed, name] = /^(?:\[([0-9a-f:.%]+)\]|([^:/?#@\s[\]]+))(?::\d{1,5})?$/i.exec(host) ?? [];
  return (bracketed ?? name)?.toLowerCase().replace(/\.$/, "");
}

/**
 * Makes the check whether a Host header is allowed: an address, localhost, the name that the server listens on, or one
 * of the operator's. A request without a Host header is allowed, because browsers always send one.
 */
export function allowedHostCheck(
  listenHost: string,
  allowed: readonly string[] = [],
): (host: string | undefined) => boolean {
  const names = new Set(["localhost", listenHost, ...allowed].map((name) => name.toLowerCase()));
  return (host) => {
    if (host === undefined) return true;
    const name = hostNameOf(host);
    return name !== undefined && (isIP(name) > 0 || names.has(name) || name.endsWith(".localhost"));
  };
}

/** Whether the Origin header names this server; `absent` without the header. */
export function originOf({ headers }: IncomingMessage): "own" | "other" | "absent" {
  const { origin, host } = headers;
  if (origin === undefined) return "absent";
  try {
    return new URL(origin).host === host?.toLowerCase() ? "own" : "other";
  } catch {
    return "other";
  }
}

/** Whether the client connected to this server, or to the proxy in front of it, over TLS. */
export const isSecure = ({ headers, socket }: IncomingMessage): boolean =>
  "encrypted" in socket || [headers["x-forwarded-proto"] ?? ""].flat()[0]?.split(",")[0]?.trim() === "https";
