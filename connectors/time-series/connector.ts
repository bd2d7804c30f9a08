/** Redis' time series as a line of the table of connectors: a store of the engine's history of figures. */
import { defineConnector } from "../connector.js";

export const timeSeriesConnector = defineConnector({
  name: "time-series",
  async seriesStore(parts) {
    // The client library takes 20 MB: only where it is used.
    const { openTimeSeries } = await import("./client.js");
    const { TimeSeriesStore } = await import("./time-series-store.js");
    return new TimeSeriesStore(await openTimeSeries(parts), parts);
  },
});
