/**
 * An order of one line from stock and one from presale, of which one line cannot be cancelled any more: a cancellation
 * that is refused must leave everything as it was, not the half of it done (R3: all lines or none, or those that the
 * caller names). Parts that leave name their lines. For a server without a WMS.
 */
import { attack, chainId, sleep, until } from "./harness.mjs";

const POOLS = ["sellable", "reserved", "committed", "presale"];
const UNITS = 10;
/** A step is seen some milliseconds after it was noted; this is for a busy machine. */
const SEEN_MS = 500;

await attack("a cancellation that is refused changes nothing", async ({ client, check }) => {
  const setUp = async () => {
    const sku = await client.receive(UNITS);
    const presale = `${sku}-PRESALE`;
    // Sold before its goods have come: nothing of it is sellable.
    await client.apply({
      kind: "receive",
      id: chainId(),
      sku: presale,
      location: "main",
      units: UNITS,
      pool: "presale",
    });
    const id = chainId();
    const lines = [
      { sku, units: 3 },
      { sku: presale, units: 2, pool: "presale" },
    ];
    const placed = await client.send("POST", "/v1/orders", { id, lines });
    const paid = await client.step(id, "payment");
    check(placed.status === 201 && paid.status === 200, `an order is placed and paid: ${placed.status} ${paid.status}`);
    return { sku, presale, id };
  };
  const stand = async ({ sku, presale, id }) => {
    const { lines, steps } = (await client.send("GET", `/v1/orders/${id}`)).json;
    const pools = [];
    for (const name of [sku, presale]) {
      const is = await client.balances(name);
      pools.push(Object.fromEntries(POOLS.map((pool) => [pool, is[pool]])));
    }
    return { pools, states: lines.map(({ state }) => state), steps: steps.map(({ step }) => step) };
  };
  const isRefused = async (order, body, text) => {
    const before = await stand(order);
    const answer = await client.step(order.id, "cancellation", body);
    check(answer.status >= 400 && answer.status < 500, `${text} is refused: ${answer.status} ${answer.json.code}`);
    // A step that it had noted would be seen after this.
    await sleep(SEEN_MS);
    const after = await stand(order);
    check(
      JSON.stringify(after) === JSON.stringify(before),
      `and changes nothing: ${JSON.stringify(before)} before, ${JSON.stringify(after)} after`,
    );
  };
  const goOut = async ({ id }, body, text) => {
    const { status, json } = await client.step(id, "outbound", body);
    check(status === 200, `${text}: ${status} ${json.code ?? json.outcome}`);
    await until(async () => {
      const { steps } = (await client.send("GET", `/v1/orders/${id}`)).json;
      return steps.some(({ step }) => step.endsWith("outbound"));
    });
  };

  // The whole order is reported as sent, although the presale line's goods do not exist.
  const whole = await setUp();
  await goOut(whole, undefined, "that all of it has left is taken");
  await isRefused(whole, undefined, "its cancellation");

  // One line has left; the other can be cancelled by its name only.
  const parts = await setUp();
  await goOut(parts, { lines: [1] }, "that line 1 has left is taken");
  await isRefused(parts, undefined, "the cancellation of all of it");
  await isRefused(parts, { lines: [1] }, "that of line 1");
  await isRefused(parts, { lines: [2, 3] }, "that of a line which the order does not have");
  const { status, json } = await client.step(parts.id, "cancellation", { lines: [2] });
  check(
    status === 200 && json.outcome === "cancelled_paid",
    `line 2 can be cancelled by name: ${status} ${json.outcome}`,
  );
  const after = await stand(parts);
  check(after.states.join() === "outbound,cancelled_paid", `and it alone is: ${after.states}`);
  check(after.pools[0].sellable === UNITS - 3 && after.pools[0].committed === 0, "line 1 keeps what it has taken");
  check(after.pools[1].presale === UNITS, `line 2's units are back: ${JSON.stringify(after.pools[1])}`);
  const again = await client.step(parts.id, "cancellation", { lines: [2] });
  check(again.status === 200 && again.json.repeated, `sent again it is a repeat: ${again.status}`);
  check((await stand(parts)).pools[1].presale === UNITS, "and gives nothing back again");
});
