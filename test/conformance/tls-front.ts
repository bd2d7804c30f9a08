/**
 * TLS in front of a plain HTTP server of a test, for channels that use https only. What the server does to a connection
 * (an answer, silence, its end) happens to the client's, too.
 */
import { once } from "node:events";
import { type AddressInfo, connect, type Socket } from "node:net";
import { createServer, type Server } from "node:tls";
import { selfSigned } from "../../connectors/web-push/sandbox/certificate.js";
import { systemClock } from "../../engine/kernel/clock.js";

export class TlsFront {
  /** PEM. */
  readonly certificate: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(origin: string) {
    const { key, cert } = selfSigned(["127.0.0.1"], systemClock.now());
    this.certificate = cert;
    this.#server = createServer({ key, cert }, (client) => {
      const server = connect(Number(new URL(origin).port), "127.0.0.1");
      for (const [socket, other] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
  }

  static async start(origin: string): Promise<TlsFront> {
    const front = new TlsFront(origin);
    front.#server.listen(0, "127.0.0.1");
    await once(front.#server, "listening");
    return front;
  }

  /** Host and port. */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}
