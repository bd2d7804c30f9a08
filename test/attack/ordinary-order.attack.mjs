/**
 * No attack: what an ordinary client does between the attacks must work, or their results would mean nothing. Stock is
 * received, an order placed, sent again, paid and sent out, and the units are where they belong.
 */
import { attack, chainId } from "./harness.mjs";

await attack("an ordinary order passes all its steps", async ({ client, check }) => {
  const sku = await client.receive(10);
  const id = chainId();
  const placed = await client.place([[sku, 3]], { id });
  check(placed.status === 201, `placing answers 201: ${placed.status}`);
  const again = await client.place([[sku, 3]], { id });
  check(again.status === 200, `placed again it answers 200: ${again.status}`);
  const paid = await client.step(id, "payment");
  check(paid.status === 200 && paid.json.outcome === "accepted", `it is paid: ${paid.text}`);
  const left = await client.step(id, "outbound");
  check(left.status === 200, `it goes out: ${left.text}`);
  const { sellable, reserved, committed } = await client.balances(sku);
  check(sellable === 7 && reserved + committed === 0, `7 units are left: ${sellable}, ${reserved}, ${committed}`);
});
