/**
 * The shop as it was: a storefront that takes an order, its payment and the way to the warehouse in one request, as
 * many shops do. It is built with care: it records an order's id and never forwards a buyer's repeats twice; it keeps
 * connections alive; it waits ten seconds for the warehouse, and tries three times, half a second and a second apart.
 * What it lacks is what this product is for: it forwards the whole order with its free text; it forwards at once,
 * however many come; its tries are in memory only and have no idempotency key.
 *
 * Ten seconds and three tries are common settings. With them the incident's figures result: an order that the slow
 * start accepts waits 4.8 s on average and 6.4 s at most (one order before it on a parser), so none of these times
 * out. An order that was not forwarded stays in the shop's books, paid (202), and never reaches the warehouse.
 */
import { Agent, request } from "node:http";
import type { AddressInfo } from "node:net";
import fastify from "fastify";
import type { ShopHour } from "./shop-hour.js";

export interface StorefrontSettings {
  wmsPort: number;
  hour: ShopHour;
}

export interface Storefront {
  port: number;
  close(): Promise<void>;
}

interface StorefrontOrder {
  id: string;
  lines: { sku: string; units: number }[];
  shipTo: { name: string; phone: string; address: string };
}

const WMS_TIMEOUT_MS = 10_000;
/**
 * What timers and two busy cores may add in real milliseconds: much in an hour that is hurried through, nothing in a
 * real one.
 */
const TIMER_SLACK_MS = 25;
const PAUSES_MS = [500, 1_000];
const BACKLOG = 4_096;

export async function startStorefront({ wmsPort, hour }: StorefrontSettings): Promise<Storefront> {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  /** Whether an order reached the warehouse, by its id. */
  const forwarded = new Map<string, Promise<boolean>>();

  /** One try: resolves with whether the warehouse has taken it. */
  const post = (body: Buffer): Promise<boolean> =>
    new Promise((resolve) => {
      const sent = request({
        agent,
        host: "127.0.0.1",
        port: wmsPort,
        path: "/v1/picking-orders",
        method: "POST",
        headers: { "content-type": "application/json", "content-length": body.length },
      });
      const timer = setTimeout(() => sent.destroy(), hour.realDelayMs(WMS_TIMEOUT_MS) + TIMER_SLACK_MS);
      const end = (isTaken: boolean) => {
        clearTimeout(timer);
        resolve(isTaken);
      };
      sent.on("response", (response) => {
        response.resume();
        response.on("end", () => end((response.statusCode ?? 500) < 300));
        response.on("error", () => end(false));
      });
      sent.on("error", () => end(false));
      sent.on("close", () => end(false));
      sent.end(body);
    });

  const forward = async (order: StorefrontOrder): Promise<boolean> => {
    const body = Buffer.from(JSON.stringify(pickingOrderOf(order)));
    for (const pauseMs of PAUSES_MS) {
      if (await post(body)) return true;
      await new Promise<void>((resolve) => hour.after(pauseMs, resolve));
    }
    return post(body);
  };

  const server = fastify({ keepAliveTimeout: 3_600_000 });
  server.post<{ Body: StorefrontOrder }>(
    "/v1/orders",
    {
      schema: {
        body: {
          type: "object",
          required: ["id", "lines", "shipTo"],
          properties: { id: { type: "string" }, lines: { type: "array", minItems: 1 }, shipTo: { type: "object" } },
        },
      },
    },
    async ({ body: order }, reply) => {
      let isForwarded = forwarded.get(order.id);
      if (isForwarded === undefined) {
        isForwarded = forward(order);
        forwarded.set(order.id, isForwarded);
      }
      const isAtWarehouse = await isForwarded;
      return reply.code(isAtWarehouse ? 201 : 202).send({ id: order.id, paid: true, atWarehouse: isAtWarehouse });
    },
  );
  await server.listen({ host: "127.0.0.1", port: 0, backlog: BACKLOG });
  return {
    port: (server.server.address() as AddressInfo).port,
    async close() {
      agent.destroy();
      server.server.closeAllConnections();
      await server.close();
    },
  };
}

/** What went to the warehouse: all data that the shop had. */
const pickingOrderOf = ({ id, lines, shipTo }: StorefrontOrder) => ({
  order_no: id,
  warehouse: "main",
  paid: true,
  lines: lines.map(({ sku, units }, i) => ({ line_no: i + 1, sku, qty: units })),
  buyer_name: shipTo.name,
  buyer_phone: shipTo.phone,
  buyer_full_address_detail: shipTo.address,
});
