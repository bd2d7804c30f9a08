/**
 * Connections accepted through several descriptors of one listening socket: real sockets on loopback, and real
 * descriptors that a child process sends back.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { addAcceptors, type ExtraAcceptors } from "../../engine/app/extra-acceptors.js";

const CLIENTS = 48;

describe.runIf(process.platform !== "win32")("a socket with extra acceptors", () => {
  let server: Server;
  let extra: ExtraAcceptors;
  const sockets: Socket[] = [];

  async function listen(count: number): Promise<void> {
    server = createServer();
    server.listen(0, "127.0.0.1", CLIENTS);
    await once(server, "listening");
    extra = await addAcceptors(server, count);
  }

  /** How many connections each turn of the event loop accepted, when all were waiting at once. */
  async function acceptedByTurn(): Promise<number[]> {
    const turns: number[] = [];
    let accepted = 0;
    let all = 0;
    server.on("connection", (socket: Socket) => {
      sockets.push(socket);
      accepted++;
      all++;
    });
    const { port } = server.address() as AddressInfo;
    for (let n = 0; n < CLIENTS; n++) sockets.push(connect(port, "127.0.0.1"));
    while (all < CLIENTS) {
      await nextTurn();
      if (accepted > 0) turns.push(accepted);
      accepted = 0;
    }
    return turns;
  }

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await Promise.all([new Promise((resolve) => server.close(resolve)), extra.close()]);
  });

  it("accepts several connections in one turn, each once", async () => {
    await listen(7);
    const turns = await acceptedByTurn();
    expect(turns.reduce((sum, accepted) => sum + accepted, 0)).toBe(CLIENTS);
    expect(Math.max(...turns)).toBeGreaterThan(1);
    expect(Math.max(...turns)).toBeLessThanOrEqual(8);
  });

  it("without any, accepts one connection in a turn", async () => {
    await listen(0);
    expect(Math.max(...(await acceptedByTurn()))).toBe(1);
  });

  it("closes when the connections that it accepted have closed", async () => {
    await listen(7);
    await acceptedByTurn();
    let isClosed = false;
    const closed = extra.close().then(() => {
      isClosed = true;
    });
    await nextTurn();
    expect(isClosed).toBe(false);
    for (const socket of sockets) socket.destroy();
    await closed;
    expect(isClosed).toBe(true);
  });
});
