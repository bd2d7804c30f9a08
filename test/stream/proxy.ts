/**
 * A wire that can be cut: a unix socket in front of Redis that passes bytes on until a test makes it lose the
 * answer to a command, or stop passing bytes as a broken network does, without closing anything.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Wire {
  readonly path: string;
  readonly #directory = mkdtempSync(join(tmpdir(), "shuiwei-wire-"));
  readonly #target: () => string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #silent = false;
  #held: (() => void)[] = [];
  /** Called with each request to Redis; true: the answer is lost, and the connection with it. */
  loses: (request: string) => boolean = () => false;
  lost = 0;

  constructor(target: () => string) {
    this.path = join(this.#directory, "wire.sock");
    this.#target = target;
    this.#server = createServer((near) => this.#join(near));
  }

  open(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.path, resolve));
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Bytes are neither passed on nor refused, until `speak`; connections made meanwhile work. */
  fallSilent(): void {
    this.#silent = true;
  }

  /** Everything held back arrives. */
  speak(): void {
    this.#silent = false;
    for (const pass of this.#held.splice(0)) pass();
  }

  #join(near: Socket): void {
    const far = createConnection(this.#target());
    const wasSilent = this.#silent;
    let losing = false;
    const pass = (work: () => void) => (this.#silent && !wasSilent ? this.#held.push(work) : work());
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => {});
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
    near.on("data", (bytes) =>
      pass(() => {
        if (this.loses(bytes.toString("latin1"))) losing = true;
        far.write(bytes);
      }),
    );
    far.on("data", (bytes) =>
      pass(() => {
        if (losing) {
          this.lost++;
          near.destroy();
        } else near.write(bytes);
      }),
    );
  }
}
