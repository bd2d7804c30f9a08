/** While earlier orders wait too long, new orders are refused at once and payments are accepted. */
import { expect, it } from "vitest";
import { sleep } from "../../../engine/kernel/clock.js";
import { until } from "../../stream/toy-log.js";
import { freshId, httpBed, send } from "./http-bed.js";

const bed = httpBed();

it("refuses new orders while the oldest has waited too long, and accepts them again when it is answered", async () => {
  await bed.receive("Q", 10);
  const order = () => ({ id: freshId(), lines: [{ sku: "Q", units: 1 }] });
  const placed = order();
  expect((await bed.send("POST", "/v1/orders", { body: placed })).status).toBe(201);

  let isWaiting = false;
  let release: () => void = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const orderService = Object.create(bed.orderService) as typeof bed.orderService;
  orderService.place = async (each, actor) => {
    isWaiting = true;
    await held;
    return bed.orderService.place(each, actor);
  };
  orderService.detailFaultOf = (each) => bed.orderService.detailFaultOf(each);
  orderService.pay = (id, actor) => bed.orderService.pay(id, actor);
  const { port } = await bed.another({ orderService, maxWaitMs: 50 });
  const first = send(port, "POST", "/v1/orders", { body: order() });
  await until(() => isWaiting, "the first order at the order service");
  await sleep(100);
  const late = order();
  const refused = await send(port, "POST", "/v1/orders", { body: late });
  expect(refused.json).toMatchObject({ status: 429, code: "overloaded" });
  expect(Number(refused.headers["retry-after"])).toBe(1);
  expect((await send(port, "POST", `/v1/orders/${placed.id}/payment`)).status).toBe(200);
  // While many are refused and none is accepted, Retry-After grows. It depends on the counts of the previous second.
  await until(async () => {
    const later = await send(port, "POST", "/v1/orders", { body: late });
    expect(Number(later.headers["retry-after"])).toBeLessThanOrEqual(10);
    return Number(later.headers["retry-after"]) > 1;
  }, "a longer Retry-After");
  release();
  expect((await first).status).toBe(201);
  expect((await send(port, "POST", "/v1/orders", { body: late })).status).toBe(201);
});
