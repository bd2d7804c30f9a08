/**
 * A process that asks for orders over HTTP at a fixed rate, whether or not they are answered. Every order has an id
 * of its own and is made ready as bytes before the first is due, so that the generator takes as little as it can of
 * the machine that it shares with the server.
 */
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { skuOfArrival } from "./assortment.js";
import { connectionsFor, HttpConnections, type HttpTarget } from "./http-connections.js";
import { serveLoad } from "./load-process.js";
import { type Arrivals, type LoopReport, runOpenLoop } from "./open-loop.js";

export interface OrderLoad extends Arrivals, HttpTarget {
  token: string;
  /** Salt of the first order's id: loads on one server must not overlap. */
  firstSalt: number;
}

export interface OrderLoadReport extends LoopReport {
  /** Requests that waited for a free connection, at most at once. */
  longestQueue: number;
}

const CHANNEL = "LD";

function requestOf({ host, port, token, firstSalt }: OrderLoad, i: number, nowMs: number): Buffer {
  const id = chainIdFromNumber(CHANNEL, nowMs, firstSalt + i);
  const body = `{"id":"${id}","lines":[{"sku":"${skuOfArrival(i)}","units":1}]}`;
  return Buffer.from(
    `POST /v1/orders HTTP/1.1\r\nHost: ${host}:${port}\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    "latin1",
  );
}

serveLoad(async (load: OrderLoad, started: () => Promise<number>): Promise<OrderLoadReport> => {
  const nowMs = systemClock.now();
  const requests = Array.from({ length: load.arrivals }, (_, i) => requestOf(load, i, nowMs));
  const connections = new HttpConnections(load);
  await connections.open(connectionsFor(load.rate));
  const report = await runOpenLoop(load, await started(), (i, answered) =>
    connections.send(requests[i] as Buffer, answered),
  );
  connections.close();
  return { ...report, longestQueue: connections.longestQueue };
});
