/**
 * How many connections there are at most, and who gives way when there is no place left: an address that has more than
 * its share, a quarter, loses one that has no request under way to whoever comes from another. So one client cannot
 * keep everybody out, and a gateway that brings all requests from one address may still have every place that nobody
 * else needs. It does not hold up who comes from many addresses.
 */
import type { Socket } from "node:net";
import { clientOf } from "./client.js";

const SHARE = 1 / 4;

export interface ConnectionPlacesOptions {
  limit: number;
  /** Whether a connection can be closed without cutting a request or a screen off. */
  isIdle(socket: Socket): boolean;
  /** Behind a proxy that is trusted all connections are its own: nobody gives way. */
  trustProxy?: boolean | undefined;
}

export class ConnectionPlaces {
  readonly #options: ConnectionPlacesOptions;
  readonly #share: number;
  readonly #all = new Set<Socket>();
  /** By address, the longest known first. */
  readonly #byClient = new Map<string, Set<Socket>>();
  /** Addresses that have more than their share: three at most. */
  readonly #large = new Set<string>();

  constructor(options: ConnectionPlacesOptions) {
    this.#options = options;
    this.#share = Math.ceil(options.limit * SHARE);
  }

  get all(): ReadonlySet<Socket> {
    return this.#all;
  }

  /** Takes a connection in until it ends, or closes it: it has no place. One that is in is passed over. */
  add(socket: Socket): void {
    if (this.#all.has(socket)) return;
    const client = this.#options.trustProxy ? undefined : clientOf(socket.remoteAddress);
    if (this.#all.size >= this.#options.limit && !this.#makeRoom(client)) {
      socket.destroy();
      return;
    }
    this.#all.add(socket);
    if (client !== undefined) this.#enter(client, socket);
    socket.once("close", () => this.#leave(client, socket));
  }

  #enter(client: string, socket: Socket): void {
    const own = this.#byClient.get(client) ?? new Set();
    own.add(socket);
    this.#byClient.set(client, own);
    if (own.size > this.#share) this.#large.add(client);
  }

  #leave(client: string | undefined, socket: Socket): void {
    this.#all.delete(socket);
    const own = client === undefined ? undefined : this.#byClient.get(client);
    if (client === undefined || !own?.delete(socket)) return;
    if (own.size <= this.#share) this.#large.delete(client);
    if (own.size === 0) this.#byClient.delete(client);
  }

  /** Closes a connection of an address that has more than its share, if another asks. */
  #makeRoom(asker: string | undefined): boolean {
    for (const client of this.#large) {
      // Nobody gives way to himself.
      if (client === asker) continue;
      const own = this.#byClient.get(client) as Set<Socket>;
      // No longer than at the beginning: those that are busy go to the end.
      let looks = own.size;
      for (const socket of own) {
        if (this.#options.isIdle(socket)) {
          // At once: its own event comes later.
          this.#leave(client, socket);
          socket.destroy();
          return true;
        }
        if (--looks <= 0) break;
        own.delete(socket);
        own.add(socket);
      }
    }
    return false;
  }
}
