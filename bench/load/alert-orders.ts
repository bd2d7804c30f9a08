/**
 * A process that sends orders over HTTP at a fixed rate, of which one in so many makes an alert fire: it takes a whole
 * hour's threshold of a SKU that nobody has bought before. It reports when each of those was answered, so that the
 * time to its push can be measured.
 */
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { alertSkuNamed, skuOfArrival } from "./assortment.js";
import { connectionsFor, HttpConnections, type HttpTarget } from "./http-connections.js";
import { serveLoad } from "./load-process.js";
import { type Arrivals, type LoopReport, monotonicMs, runOpenLoop } from "./open-loop.js";

export interface AlertLoad extends Arrivals, HttpTarget {
  token: string;
  /** One order in so many makes an alert fire. */
  every: number;
  /** Units with which a SKU that was never sold fires. */
  units: number;
}

export interface AlertLoadReport extends LoopReport {
  /** By the SKU: when its order was accepted, by `monotonicMs`. */
  acceptedMs: Record<string, number>;
}

const CHANNEL = "LD";

/** The SKU that arrival i makes fire; undefined: none. */
const alertSkuOf = ({ every }: AlertLoad, i: number): string | undefined =>
  i % every === 0 ? alertSkuNamed(i / every) : undefined;

function requestOf(load: AlertLoad, i: number, nowMs: number): Buffer {
  const { host, port, token, units } = load;
  const id = chainIdFromNumber(CHANNEL, nowMs, i);
  const sku = alertSkuOf(load, i);
  const line = sku === undefined ? { sku: skuOfArrival(i), units: 1 } : { sku, units };
  const body = JSON.stringify({ id, lines: [line] });
  return Buffer.from(
    `POST /v1/orders HTTP/1.1\r\nHost: ${host}:${port}\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    "latin1",
  );
}

serveLoad(async (load: AlertLoad, started: () => Promise<number>): Promise<AlertLoadReport> => {
  const nowMs = systemClock.now();
  const requests = Array.from({ length: load.arrivals }, (_, i) => requestOf(load, i, nowMs));
  const acceptedMs: Record<string, number> = {};
  const connections = new HttpConnections(load);
  await connections.open(connectionsFor(load.rate));
  const report = await runOpenLoop(load, await started(), (i, answered) =>
    connections.send(requests[i] as Buffer, (answer) => {
      const sku = alertSkuOf(load, i);
      if (sku !== undefined && i >= (load.uncounted ?? 0) && answer === "201") acceptedMs[sku] = monotonicMs();
      answered(answer);
    }),
  );
  connections.close();
  return { ...report, acceptedMs };
});
