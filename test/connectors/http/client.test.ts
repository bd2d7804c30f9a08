/** Clients by their addresses, and the host names that a server accepts. */
import type { IncomingMessage } from "node:http";
import { expect, it } from "vitest";
import { addressOf, allowedHostCheck, networkOf, originOf } from "../../../connectors/http/client.js";

const asked = (headers: Record<string, string>, remoteAddress = "10.0.0.9") =>
  ({ headers, socket: { remoteAddress } }) as unknown as IncomingMessage;

it.each([
  ["10.1.2.3", "10.1.2.3"],
  ["::ffff:10.1.2.3", "10.1.2.3"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:0db8:0001:0002::1", "2001:db8:1:2::/64"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
])("%s counts as %s", (address, network) => expect(networkOf(address)).toBe(network));

it("uses a proxy's header only when configured, and only the address that the proxy itself appended", () => {
  const headers = { "x-forwarded-for": "6.6.6.6, 203.0.113.7" };
  expect(addressOf(asked(headers), false)).toBe("10.0.0.9");
  expect(addressOf(asked(headers), true)).toBe("203.0.113.7");
  expect(addressOf(asked({ "x-forwarded-for": "nonsense" }), true)).toBe("10.0.0.9");
  expect(addressOf(asked({}), true)).toBe("10.0.0.9");
});

it("accepts addresses, localhost, the name listened on and allowed names; rejects a rebound name", () => {
  const isOurs = allowedHostCheck("0.0.0.0", ["Shop.Example"]);
  for (const host of [
    "10.0.0.5:8618",
    "[2001:db8::1]:8618",
    "localhost",
    "localhost:8618",
    "shop.example",
    "SHOP.example:443",
    "shop.example.",
    undefined,
  ])
    expect(isOurs(host), host).toBe(true);
  for (const host of [
    "evil.example",
    "10.0.0.5.evil.example:8618",
    "shop.example.evil",
    "",
    "a b",
    "localhost@evil",
    "[x]",
  ])
    expect(isOurs(host), host).toBe(false);
});

it("accepts a page as its own when origin and host match", () => {
  expect(originOf(asked({ host: "a.example:1", origin: "http://a.example:1" }))).toBe("own");
  expect(originOf(asked({ host: "a.example", origin: "https://a.example" }))).toBe("own");
  expect(originOf(asked({ host: "a.example", origin: "https://b.example" }))).toBe("other");
  expect(originOf(asked({ host: "a.example", origin: "null" }))).toBe("other");
  expect(originOf(asked({ host: "a.example" }))).toBe("absent");
});
