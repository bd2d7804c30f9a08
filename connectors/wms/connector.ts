/**
 * The WMS as a line of the table of connectors: a sink of the orders. Measures how long orders took from payment to
 * the warehouse.
 */
import { defineConnector, defineSink } from "../connector.js";
import { wmsOptions } from "./options.js";

/** R22 asks for less than 0.8 s; the incident took 4.7. */
const PICKING_BUCKETS = [0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 60, 600, 3_600];

const wmsSink = defineSink({
  name: "wms",
  topic: "orders",
  options: wmsOptions,
  takesOrders: true,
  isConfigured: ({ wmsUrl }) => wmsUrl !== undefined,
  limits: ({ wmsLimit, wmsInFlight }) => ({ perSecond: wmsLimit, inFlight: wmsInFlight }),
  async open({ wmsUrl, wmsToken, wmsInFlight, wmsTimeoutMs }, { orderStore, orderService, objects }) {
    const [{ loadContract, WMS_CONTRACT, wmsClient, wmsReceiver }, { Histogram }] = await Promise.all([
      import("./index.js"),
      import("prom-client"),
    ]);
    const pickingSeconds = new Histogram({
      name: "shuiwei_paid_to_picking_seconds",
      help: "From an order's payment to the WMS having it",
      buckets: PICKING_BUCKETS,
      registers: [],
    });
    const contract = await loadContract(WMS_CONTRACT);
    await orderStore.waiting.begin();
    const client = wmsClient({
      url: wmsUrl as string,
      timeoutMs: wmsTimeoutMs,
      connections: wmsInFlight,
      ...(wmsToken === undefined ? {} : { token: wmsToken }),
    });
    const receiver = wmsReceiver({
      client,
      contract,
      objects,
      orderStore,
      settle: (order, result, evidence) => orderService.settleCancellation(order, result, evidence),
      onPicking: (tookMs) => pickingSeconds.observe(Math.max(0, tookMs) / 1_000),
    });
    return { receiver, metrics: [pickingSeconds], close: () => client.close() };
  },
});

export const wmsConnector = defineConnector({ name: "wms", options: wmsOptions, sinks: [wmsSink] });
