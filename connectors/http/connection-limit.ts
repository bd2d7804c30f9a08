/**
 * Limits how many connections are open. When the limit is reached, a new connection from another address replaces an
 * idle one of an address that has more than its share, a quarter. So one client cannot block all others, and a gateway
 * that sends all requests from one address may still use the whole limit. It does not stop an attacker who has many
 * addresses.
 */
import type { Socket } from "node:net";
import { clientOf } from "./client.js";

const SHARE = 1 / 4;

export interface ConnectionLimitOptions {
  limit: number;
  /** Whether a connection can be closed without cutting off a request or a screen. */
  isIdle(socket: Socket): boolean;
  /** Behind a trusted proxy all connections are the proxy's: none is replaced. */
  trustProxy?: boolean | undefined;
}

export class ConnectionLimit {
  readonly #options: ConnectionLimitOptions;
  readonly #share: number;
  readonly #all = new Set<Socket>();
  /** By address, the oldest connection first. */
  readonly #byClient = new Map<string, Set<Socket>>();
  /** Addresses that have more than their share: three at most. */
  readonly #large = new Set<string>();

  constructor(options: ConnectionLimitOptions) {
    this.#options = options;
    this.#share = Math.ceil(options.limit * SHARE);
  }

  get all(): ReadonlySet<Socket> {
    return this.#all;
  }

  /** Counts a connection until it closes, or closes it when the limit is reached. A counted one is ignored. */
  add(socket: Socket): void {
    if (this.#all.has(socket)) return;
    const client = this.#options.trustProxy ? undefined : clientOf(socket.remoteAddress);
    if (this.#all.size >= this.#options.limit && !this.#makeRoom(client)) {
      socket.destroy();
      return;
    }
    this.#all.add(socket);
    if (client !== undefined) this.#count(client, socket);
    socket.once("close", () => this.#release(client, socket));
  }

  #count(client: string, socket: Socket): void {
    const own = this.#byClient.get(client) ?? new Set();
    own.add(socket);
    this.#byClient.set(client, own);
    if (own.size > this.#share) this.#large.add(client);
  }

  #release(client: string | undefined, socket: Socket): void {
    this.#all.delete(socket);
    const own = client === undefined ? undefined : this.#byClient.get(client);
    if (client === undefined || !own?.delete(socket)) return;
    if (own.size <= this.#share) this.#large.delete(client);
    if (own.size === 0) this.#byClient.delete(client);
  }

  /** Closes an idle connection of an address that has more than its share, if another address asks. */
  #makeRoom(requester: string | undefined): boolean {
    for (const client of this.#large) {
      // An address does not replace its own connections.
      if (client === requester) continue;
      const own = this.#byClient.get(client) as Set<Socket>;
      // One pass: busy connections move to the end.
      let left = own.size;
      for (const socket of own) {
        if (this.#options.isIdle(socket)) {
          // Now: the close event comes later.
          this.#release(client, socket);
          socket.destroy();
          return true;
        }
        if (--left <= 0) break;
        own.delete(socket);
        own.add(socket);
      }
    }
    return false;
  }
}
