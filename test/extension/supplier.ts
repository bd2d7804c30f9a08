/**
 * A connector: its options, a sink that sends the restock job's orders to a supplier over HTTP, a route with which an
 * operator orders by hand, and a warning.
 */
import { defineConnector, defineSink } from "../../connectors/connector.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { defineOptions } from "../../engine/kernel/options.js";
import { LOW_EMIT } from "./low-stock.js";
import { ORDER_EMIT, RESTOCK } from "./restock.js";

const supplierOptions = defineOptions({
  supplierUrl: { type: "string", about: "the supplier that gets orders; without it none are sent" },
  supplierLimit: {
    type: "integer",
    default: 100,
    min: 10,
    max: 10_000,
    unit: "requests/s",
    about: "what the supplier takes",
  },
  supplierHoliday: { type: "string", about: "a text for operators while the supplier is closed" },
});

const REFUSED = 422;

const supplierSink = defineSink({
  name: "supplier",
  topic: RESTOCK,
  options: supplierOptions,
  isConfigured: ({ supplierUrl }) => supplierUrl !== undefined,
  limits: ({ supplierLimit }) => ({ perSecond: supplierLimit, inFlight: 4 }),
  async open({ supplierUrl }) {
    return {
      receiver: {
        name: "supplier",
        wants: (kind) => kind === ORDER_EMIT,
        async deliver({ id, payload }, signal) {
          const headers = { "idempotency-key": id };
          const body = JSON.stringify(payload);
          const { status } = await fetch(supplierUrl as string, { method: "POST", headers, body, signal });
          if (status < 300) return { outcome: "done" };
          return { outcome: status === REFUSED ? "refused" : "retry", reason: `HTTP ${status}` };
        },
      },
    };
  },
});

export const supplierConnector = defineConnector({
  name: "supplier",
  options: supplierOptions,
  sinks: [supplierSink],
  async open({ supplierHoliday }, { append, clock }) {
    return {
      routes(server, authorize) {
        server.post<{ Params: { sku: string } }>(
          "/v1/restock/:sku",
          { onRequest: authorize("operate") },
          async ({ params: { sku } }, reply) => {
            await append(RESTOCK, [{ id: chainId("RS", clock.now()), key: sku, kind: LOW_EMIT, payload: null }]);
            return reply.code(202).send({ sku });
          },
        );
      },
      warnings: () => (supplierHoliday === undefined ? [] : [`supplier: ${supplierHoliday}`]),
    };
  },
});
