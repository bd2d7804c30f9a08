/**
 * Which IP addresses may be reached for a URL that somebody else has chosen, such as the endpoint of a push
 * subscription: only public ones. Otherwise a request could be directed at the machines beside this one (server-side
 * request forgery, SSRF). The check is made where a connection is opened, with the address that is connected to: a name
 * that resolves to another address a moment later gains nothing.
 */
import { lookup as resolveName } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";

/** IANA's registries of special-purpose addresses, and multicast. */
const NOT_PUBLIC_V4: readonly (readonly [network: string, prefix: number])[] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
];
/** Within 2000::/3, the global unicast addresses: those that stand for an IPv4 address, documentation, protocols. */
const NOT_PUBLIC_V6: readonly (readonly [network: string, prefix: number])[] = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
];

const notPublic = new BlockList();
for (const [network, prefix] of NOT_PUBLIC_V4) notPublic.addSubnet(network, prefix, "ipv4");
for (const [network, prefix] of NOT_PUBLIC_V6) notPublic.addSubnet(network, prefix, "ipv6");
const globalUnicast = new BlockList();
globalUnicast.addSubnet("2000::", 3, "ipv6");

/** @param address an IPv4 or IPv6 address; anything else is not public */
export function isPublicAddress(address: string): boolean {
  const version = isIP(address);
  if (version === 4) return !notPublic.check(address, "ipv4");
  // Addresses with a scope (`fe80::1%eth0`) are outside 2000::/3, too.
  return version === 6 && globalUnicast.check(address, "ipv6") && !notPublic.check(address, "ipv6");
}

/** The address in a URL's host, or undefined when the host is a name. */
export function addressOf({ hostname }: URL): string | undefined {
  const bare = hostname.replace(/^\[|\]$/g, "");
  return isIP(bare) === 0 ? undefined : bare;
}

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** Whether the host is this machine, by its text alone. */
export const isLoopbackHost = ({ hostname }: URL): boolean => LOOPBACK.test(hostname);

/** The code of the error when a name has no public address. */
export const NO_PUBLIC_ADDRESS = "ENOPUBLICADDRESS";

/**
 * Resolves names to their public addresses only. It is not called for a host that is an address already.
 * @param resolve left out: the system's resolver
 */
export const publicLookup =
  (resolve: LookupFunction = resolveName as unknown as LookupFunction): LookupFunction =>
  (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, found) => {
      if (error) {
        callback(error, "", 0);
        return;
      }
      const addresses = (found as unknown as { address: string; family: number }[]).filter(({ address }) =>
        isPublicAddress(address),
      );
      const [first] = addresses;
      if (first === undefined)
        callback(Object.assign(new Error("the host has no public address"), { code: NO_PUBLIC_ADDRESS }), "", 0);
      else if (options.all) (callback as unknown as (error: null, all: typeof addresses) => void)(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
