/**
 * Which connections are replaced when the limit is reached: one address cannot block the others, and busy connections
 * are not closed.
 */
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { expect, it } from "vitest";
import { ConnectionLimit } from "../../../connectors/http/connection-limit.js";

class Connection extends EventEmitter {
  isBusy = false;
  destroyed = false;
  readonly remoteAddress: string;
  constructor(remoteAddress: string) {
    super();
    this.remoteAddress = remoteAddress;
  }
  destroy(): void {
    this.destroyed = true;
  }
  /** Node emits this event some time later. */
  end(): void {
    this.emit("close");
  }
}

const busy = (socket: Socket): boolean => (socket as unknown as Connection).isBusy;
function connectionLimit(max = 8, trustProxy = false) {
  const limit = new ConnectionLimit({ limit: max, trustProxy, isIdle: (socket) => !busy(socket) });
  const come = (address: string, isBusy = false): Connection => {
    const connection = new Connection(address);
    connection.isBusy = isBusy;
    limit.add(connection as unknown as Socket);
    return connection;
  };
  return { limit, come, many: (count: number, address: string) => Array.from({ length: count }, () => come(address)) };
}
const open = (connections: readonly Connection[]): number => connections.filter(({ destroyed }) => !destroyed).length;

it("One address may use the whole limit; others replace its idle connections down to a quarter, the oldest first", () => {
  const { limit, come, many } = connectionLimit();
  const first = many(8, "192.0.2.1");
  expect(come("192.0.2.1").destroyed).toBe(true);
  expect(open(first)).toBe(8);
  (first[0] as Connection).isBusy = true;
  expect(come("192.0.2.2").destroyed).toBe(false);
  expect(first.map(({ destroyed }) => destroyed).indexOf(true)).toBe(1);
  expect(open(many(7, "2001:db8::1"))).toBe(5);
  expect(open(first)).toBe(2);
  expect(first[0]?.destroyed).toBe(false);
  expect(limit.all.size).toBe(8);
});

it("Busy connections, and those of an address within its share, are not replaced", () => {
  const { come, many } = connectionLimit();
  const busyOnes = Array.from({ length: 6 }, () => come("192.0.2.1", true));
  const few = many(2, "192.0.2.2");
  expect(come("192.0.2.3").destroyed).toBe(true);
  expect([open(busyOnes), open(few)]).toEqual([6, 2]);
  (busyOnes[5] as Connection).isBusy = false;
  expect(come("192.0.2.3").destroyed).toBe(false);
  expect(open(busyOnes)).toBe(5);
});

it("The limit is free again when the connections of an address close", () => {
  const { limit, many } = connectionLimit();
  for (const each of many(8, "192.0.2.1")) each.end();
  expect(limit.all.size).toBe(0);
  const others = many(8, "192.0.2.2");
  expect(open(others)).toBe(8);
  // One that is counted already is ignored.
  limit.add(others[0] as unknown as Socket);
  expect(open(others)).toBe(8);
});

it.each([
  ["127.0.0.1", false],
  ["::ffff:127.0.0.1", false],
  ["::1", false],
  ["192.0.2.9", true],
] as const)("A possible proxy keeps its connections: %s, trusted: %s", (proxy, trustProxy) => {
  const { come, many } = connectionLimit(8, trustProxy);
  const all = many(8, proxy);
  expect(come("192.0.2.2").destroyed).toBe(true);
  expect(open(all)).toBe(8);
});
