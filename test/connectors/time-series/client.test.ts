/** The connection for time series: what it does when the server restarts, is silent, or refuses a sample. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openTimeSeries, type TimeSeriesClient } from "../../../connectors/time-series/client.js";
import { TimeSeriesServer } from "./time-series-server.js";

let server: TimeSeriesServer;
let client: TimeSeriesClient;
const troubles: string[] = [];

beforeEach(async () => {
  server = await TimeSeriesServer.start();
  client = await openTimeSeries({ url: server.url, onTrouble: (message) => troubles.push(message) });
});
afterEach(async () => {
  client.close();
  await server.stop();
});

describe("the connection for time series", () => {
  it("reads what it wrote, and nothing of a series that does not exist", async () => {
    expect(await client.range("none", 0, 9)).toEqual([]);
    expect(await client.last("none", 0, 9)).toBeUndefined();
    await client.remove("none", 0, 9);
    await client.create("a", 1_000);
    await client.create("a", 1_000);
    expect(await client.add([{ key: "a", timestamp: 5, value: 7 }])).toEqual([undefined]);
    expect(await client.add([{ key: "a", timestamp: 5, value: 8 }])).toEqual([undefined]);
    expect(await client.range("a", 0, 9)).toEqual([{ timestamp: 5, value: 8 }]);
    expect(await client.last("a", 0, 9)).toEqual({ timestamp: 5, value: 8 });
  });

  it("returns for each sample what is wrong with it", async () => {
    await client.create("a", 1_000);
    await client.add([{ key: "a", timestamp: 5_000, value: 1 }]);
    const faults = await client.add([
      { key: "b", timestamp: 1, value: 1 },
      { key: "a", timestamp: 3_000, value: 1 },
      { key: "a", timestamp: 6_000, value: 1 },
    ]);
    expect(faults).toEqual([expect.stringMatching("does not exist"), expect.stringMatching("older"), undefined]);
  });

  it("is there again after the server has closed the connection", async () => {
    await client.create("a", 1_000);
    server.disconnect();
    await expect
      .poll(() => client.add([{ key: "a", timestamp: 5, value: 7 }]).catch(({ code }) => code))
      .toEqual([undefined]);
    expect(troubles.join()).toMatch("the connection for time series");
  });

  it("refuses Sentinels", async () => {
    const opening = openTimeSeries({ url: "redis+sentinel://a:1/name", onTrouble: () => {} });
    await expect(opening).rejects.toMatchObject({ code: "bad_input" });
  });
});
