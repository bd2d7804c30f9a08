/**
 * Who is at the other end of a connection, as far as its address tells, and which server the client believes to talk
 * to. An address stands for one client: an IPv6 network of 64 bits is one, because whoever has one address of it has
 * them all. A Host that is not ours is how a web page that points a name of its own at this machine (DNS rebinding)
 * gives itself away; it needs a name, so addresses are always taken.
 */
import type { IncomingMessage } from "node:http";
import { isIP, isIPv6 } from "node:net";

/** As `networkOf` names them. */
const LOCAL: ReadonlySet<string> = new Set(["127.0.0.1", "0:0:0:0::/64"]);

/** What a proxy that is trusted says of its client: it appends the address that it has seen. */
export function addressOf({ headers, socket }: IncomingMessage, trustProxy: boolean): string {
  const forwarded = trustProxy ? headers["x-forwarded-for"] : undefined;
  const last = [forwarded ?? []].flat().at(-1)?.split(",").at(-1)?.trim() ?? "";
  return networkOf(isIP(last) > 0 ? last : (socket.remoteAddress ?? "unknown"));
}

/**
 * The same, for who gets a share of something; undefined for programs of this machine: one of them may be a proxy that
 * brings everybody and says of nobody who it is.
 */
export function quotaClientOf(request: IncomingMessage, trustProxy: boolean): string | undefined {
  return unlessLocal(addressOf(request, trustProxy));
}

/** Whose share a connection counts in, by its own address. */
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

/** The name or address in a Host header, without its port and in small letters; undefined when it is none. */
function hostNameOf(host: string): string | undefined {
  const [, bracketed, name] = /^(?:\[([0-9a-f:.%]+)\]|([^:/?#@\s[\]]+))(?::\d{1,5})?$/i.exec(host) ?? [];
  return (bracketed ?? name)?.toLowerCase().replace(/\.$/, "");
}

/**
 * Makes the check whether a Host header is ours: an address, localhost, the name that is listened on, or one that the
 * operator has named. A request without one comes from no browser.
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

/** Whether a browser says that the request comes from a page of this very server; `absent` when it says nothing. */
export function originOf({ headers }: IncomingMessage): "own" | "other" | "absent" {
  const { origin, host } = headers;
  if (origin === undefined) return "absent";
  try {
    return new URL(origin).host === host?.toLowerCase() ? "own" : "other";
  } catch {
    return "other";
  }
}

/** Whether the client reached us, or the proxy before us, over TLS. */
export const isSecure = ({ headers, socket }: IncomingMessage): boolean =>
  "encrypted" in socket || [headers["x-forwarded-proto"] ?? ""].flat()[0]?.split(",")[0]?.trim() === "https";
