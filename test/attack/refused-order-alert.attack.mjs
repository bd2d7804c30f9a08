/**
 * Carts with one line that cannot be had: every order is refused as a whole, so no line of it is demand (R9). An
 * alert for what the other lines asked for would send purchasing after goods that were not sold. That alerts work
 * is shown by the order that follows.
 */
import { attack, chainId, sleep, until } from "./harness.mjs";

const REFUSED = 40;
/** A screen and an alert are at most a second behind; this is for a busy machine. */
const SETTLED_MS = 3_000;

await attack("orders that were refused raise no alert", async ({ client, check, print }) => {
  const sku = await client.receive(100_000);
  const soldOut = await client.receive(1);
  const alertsFor = async (name) =>
    (await client.send("GET", "/v1/alerts")).json.alerts.filter((alert) => alert.sku === name);

  const statuses = await Promise.all(
    Array.from({ length: REFUSED }, async (_, i) => {
      const other = i % 2 === 0 ? ["NO-SUCH-SKU", 1] : [soldOut, 2];
      return (await client.place([[sku, 100], other], { id: chainId() })).status;
    }),
  );
  print(`${REFUSED} orders answered with ${[...new Set(statuses)].sort().join(", ")}`);
  // A busy server may ask some to retry later.
  const decided = statuses.filter((status) => status === 404 || status === 409).length;
  check(decided > 0 && statuses.every((status) => status >= 400 && status < 500), "every order is refused");
  const startedMs = performance.now();
  let raised = [];
  while (raised.length === 0 && performance.now() - startedMs < SETTLED_MS) {
    raised = await alertsFor(sku);
    await sleep(100);
  }
  check(raised.length === 0, `no alert is raised for them: ${JSON.stringify(raised)}`);
  const { sellable, reserved } = await client.balances(sku);
  check(sellable === 100_000 && reserved === 0, `their units are back: ${sellable}, ${reserved}`);

  const id = chainId();
  const lines = [
    [sku, 100],
    [soldOut, 1],
  ];
  const placed = await client.place(lines, { id });
  check(placed.status === 201, `an order that can be had is accepted: ${placed.status}`);
  const again = await client.place(lines, { id });
  check(again.status === 200, `sent again it is the same order: ${again.status}`);
  const [alert] =
    (await until(async () => {
      const found = await alertsFor(sku);
      return found.length > 0 ? found : undefined;
    })) ?? [];
  check(alert?.hourUnits === 100, `it raises one, with its units counted once: ${JSON.stringify(alert)}`);
});
