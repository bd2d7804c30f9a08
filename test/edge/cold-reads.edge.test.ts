/**
 * 10,000 readers ask a cache for the same SKU at the same time, when it has no copy: on connections that are open
 * already, and most before the origin has answered. The origin is asked once, and all get that answer. In two tiers,
 * too. What it takes is printed, not limited.
 */
import { connect, type Socket } from "node:net";
import { expect, it } from "vitest";
import { stopwatch } from "../../engine/kernel/clock.js";
import { type CacheProgram, type CacheServer, HAS, startCacheServer } from "./cache-servers.js";
import { StockOrigin } from "./stock-origin.js";

const READERS = 10_000;
/** Connections that are opened at the same time: below the queue of a listening socket. */
const OPENED_AT_ONCE = 200;
/** Until then most have asked; a cache waits 3 s for its origin. */
const ORIGIN_DELAY_MS = 1_000;

const TIERS: readonly (readonly CacheProgram[])[] = [["nginx"], ["varnish"], ["nginx", "nginx"], ["varnish", "nginx"]];

// One of nginx' periods of ten seconds may begin while they ask; it is fetched, too. Then the test is tried again.
it.for(TIERS.map((tiers) => ({ tiers, name: tiers.join(" before ") })))(
  "10,000 cold reads of one SKU reach the origin once: $name",
  { retry: 2 },
  async ({ tiers, name }, { skip }) => {
    skip(!tiers.every((program) => HAS[program]));
    const origin = await StockOrigin.start();
    const servers: CacheServer[] = [];
    let sockets: Socket[] = [];
    try {
      for (const [i, program] of [...tiers].reverse().entries()) {
        const role = i === tiers.length - 1 ? "edge" : "shield";
        servers.push(await startCacheServer(program, { role, origin: servers.at(-1)?.address ?? origin.address }));
      }
      origin.delayMs = ORIGIN_DELAY_MS;
      sockets = await openSockets(Number(servers.at(-1)?.address.split(":")[1]));
      const elapsed = stopwatch();
      const reads = sockets.map(answerOn);
      const askedMs = Math.round(elapsed());
      const answers = new Map<string, number>();
      for (const answer of await Promise.all(reads)) answers.set(answer, (answers.get(answer) ?? 0) + 1);
      process.stdout.write(
        `${name}: ${origin.received.length} request to the origin; asked in ${askedMs} ms, all answered after ${Math.round(elapsed())} ms\n`,
      );
      expect([...answers]).toEqual([[expect.stringMatching(/^200 \{"sku":"COLD"/), READERS]]);
      expect(origin.received.length).toBe(1);
    } finally {
      for (const socket of sockets) socket.destroy();
      for (const server of servers.reverse()) await server.stop();
      await origin.stop();
    }
  },
);

async function openSockets(port: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < READERS) {
    const opened = Array.from(
      { length: OPENED_AT_ONCE },
      () =>
        new Promise<Socket>((resolve, reject) => {
          const socket = connect(port, "127.0.0.1", () => resolve(socket));
          socket.once("error", reject);
        }),
    );
    sockets.push(...(await Promise.all(opened)));
  }
  return sockets;
}

/** Asks on an open connection. @returns status and body, or why there is none */
const answerOn = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    const parts: Buffer[] = [];
    socket.on("data", (part) => parts.push(part));
    socket.on("error", ({ message }) => resolve(message));
    socket.on("end", () => {
      const [head = "", body = ""] = Buffer.concat(parts).toString().split("\r\n\r\n");
      resolve(`${head.split(" ")[1]} ${body}`);
    });
    socket.write("GET /v1/stock/COLD HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
  });
