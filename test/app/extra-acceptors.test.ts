/**
 * Connections taken in through several descriptors of one listening socket: real sockets on loopback, real
 * descriptors handed back by a process.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { addAcceptors, type ExtraAcceptors } from "../../engine/app/extra-acceptors.js";

const CLIENTS = 48;

describe.runIf(process.platform !== "win32")("a socket with further listeners", () => {
  let server: Server;
  let further: ExtraAcceptors;
  const sockets: Socket[] = [];

  async function listen(count: number): Promise<void> {
    server = createServer();
    server.listen(0, "127.0.0.1", CLIENTS);
    await once(server, "listening");
    further = await addAcceptors(server, count);
  }

  /** How many connections each turn of the event loop took in, when all stood before the door at once. */
  async function takenIn(): Promise<number[]> {
    const turns: number[] = [];
    let taken = 0;
    let all = 0;
    server.on("connection", (socket: Socket) => {
      sockets.push(socket);
      taken++;
      all++;
    });
    const { port } = server.address() as AddressInfo;
    for (let n = 0; n < CLIENTS; n++) sockets.push(connect(port, "127.0.0.1"));
    while (all < CLIENTS) {
      await nextTurn();
      if (taken > 0) turns.push(taken);
      taken = 0;
    }
    return turns;
  }

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await Promise.all([new Promise((resolve) => server.close(resolve)), further.close()]);
  });

  it("takes several connections in within a turn, each once", async () => {
    await listen(7);
    const turns = await takenIn();
    expect(turns.reduce((sum, taken) => sum + taken, 0)).toBe(CLIENTS);
    expect(Math.max(...turns)).toBeGreaterThan(1);
    expect(Math.max(...turns)).toBeLessThanOrEqual(8);
  });

  it("is as it was without them", async () => {
    await listen(0);
    expect(Math.max(...(await takenIn()))).toBe(1);
  });

  it("ends when the connections that it took in have ended", async () => {
    await listen(7);
    await takenIn();
    let isClosed = false;
    const closed = further.close().then(() => {
      isClosed = true;
    });
    await nextTurn();
    expect(isClosed).toBe(false);
    for (const socket of sockets) socket.destroy();
    await closed;
    expect(isClosed).toBe(true);
  });
});
