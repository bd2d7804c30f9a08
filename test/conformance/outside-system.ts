/**
 * An outside system that answers every request in the same way, as a test says: one that fails, never answers, or ends
 * the connection. It listens on a free port of the loopback interface.
 */
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export class OutsideSystem {
  readonly #server: Server;
  requests = 0;

  private constructor(answer: (reply: ServerResponse) => void) {
    this.#server = createServer((request, reply) => {
      this.requests++;
      request.resume();
      request.on("error", () => {});
      request.on("end", () => answer(reply));
    });
  }

  static async start(answer: (reply: ServerResponse) => void): Promise<OutsideSystem> {
    const system = new OutsideSystem(answer);
    system.#server.listen(0, "127.0.0.1");
    await once(system.#server, "listening");
    return system;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}
