/** The demo's limited editions sell out and come back, again and again, on a real engine. */
import { expect, it } from "vitest";
import { LIMITED_GOODS, LIMITED_UNITS } from "../../connectors/demo-shop/limited-goods.js";
import { sellLimitedGoods } from "../../engine/app/demo-limited.js";
import { withRedis } from "../redis/with-redis.js";
import { withEngines } from "./engine-builder.js";

const server = withRedis();
const engines = withEngines();

it("sells out every limited edition and receives it again", async () => {
  const engine = await engines.start({ redisUrl: server.url, prefix: "limited" });
  const { storefrontView } = engine.stock;
  const seen = new Map<string, number[]>(LIMITED_GOODS.map(({ code }) => [code, []]));
  storefrontView.onAvailability((sku) => seen.get(sku)?.push(storefrontView.get(sku)?.total.display ?? 0));
  const stop = new AbortController();
  const troubles: string[] = [];
  const pace = { orderEveryMs: 20, outForMs: 200, apartMs: 10 };
  const selling = sellLimitedGoods(engine, stop.signal, (message) => troubles.push(message), pace);
  await expect.poll(() => [...seen.values()].every((displays) => displays.length >= 5)).toBe(true);
  stop.abort();
  await selling;
  for (const displays of seen.values()) {
    expect(displays.filter((units) => units === 0).length).toBeGreaterThanOrEqual(2);
    expect(Math.max(...displays)).toBe(LIMITED_UNITS);
  }
  expect(troubles).toEqual([]);
});
