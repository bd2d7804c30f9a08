/**
 * Pay, cancel, outbound: the goods of a cancelled order leave after all, and its units may be sold by then. The report
 * is a fact and is accepted (R3); the ledger records it, and units that it does not have are an exception until the
 * stock was counted. No unit is sold twice without an exception. For a server without a WMS: no confirmation is needed,
 * so a cancellation returns the units at once.
 */
import { attack, chainId, until } from "./harness.mjs";

const KIND = "unexplained_outbound";

await attack("goods of a cancelled order that leave are accounted for", async ({ client, check }) => {
  const holds = async (sku, [sellable, reserved, committed], text) => {
    const is = await client.balances(sku);
    const holds = is.sellable === sellable && is.reserved === reserved && is.committed === committed;
    check(holds, `${text}: sellable ${is.sellable}, reserved ${is.reserved}, committed ${is.committed}`);
  };
  const unexplained = async (id) =>
    (await client.send("GET", `/v1/orders/${id}`)).json.exceptions.find(({ kind }) => kind === KIND);
  const paid = async (lines) => {
    const id = chainId();
    const answers = [await client.place(lines, { id }), await client.step(id, "payment")];
    check(
      answers.every(({ status }) => status < 300),
      `an order is placed and paid: ${answers.map((a) => a.status)}`,
    );
    return id;
  };
  const cancel = async (id) => {
    const { status, json } = await client.step(id, "cancellation");
    check(status === 200 && json.outcome === "cancelled_paid", `it is cancelled: ${status} ${json.outcome}`);
  };

  // The units were not sold meanwhile.
  const sku = await client.receive(5);
  const first = await paid([[sku, 2]]);
  await holds(sku, [3, 0, 2], "2 of 5 units are committed");
  await cancel(first);
  await holds(sku, [5, 0, 0], "a cancelled order gives its units back at once");
  const left = await client.step(first, "outbound");
  check(left.status === 200, `the report that its goods have left is taken: ${left.status} ${left.text}`);
  await holds(sku, [3, 0, 0], "units that have left cannot be sold");
  const again = await client.step(first, "outbound");
  check(again.status === 200 && again.json.repeated, `sent again it is a repeat: ${again.status}`);
  await holds(sku, [3, 0, 0], "and takes nothing");
  const tooMany = await client.place([[sku, 4]]);
  check(tooMany.status === 409, `more than is there cannot be sold: ${tooMany.status}`);
  const found = await until(() => unexplained(first));
  check(found !== undefined, `it is an exception: ${JSON.stringify(found)}`);

  // Another order has bought them.
  const scarce = await client.receive(2);
  const lost = await paid([[scarce, 2]]);
  await cancel(lost);
  const other = await paid([[scarce, 2]]);
  const report = await client.step(lost, "outbound");
  check(report.status === 200, `the report is taken although the units are sold: ${report.status} ${report.text}`);
  const [line] = report.json.lines ?? [];
  check(line?.missingUnits === 2, `it reports the missing units: ${line?.missingUnits}`);
  await holds(scarce, [0, 0, 2], "the other order keeps its units in the books");
  const missing = await until(() => unexplained(lost));
  check(missing?.units === 2, `and what is missing is an exception: ${JSON.stringify(missing)}`);
  const listed = (await client.send("GET", "/v1/exceptions?limit=1000")).json;
  check(
    listed.next !== undefined || listed.exceptions.some(({ order, kind }) => order === lost && kind === KIND),
    `which is listed: ${JSON.stringify(listed.exceptions.filter(({ order }) => order === lost))}`,
  );
  const counted = await client.step(lost, "count", { source: "stock-taker" });
  check(counted.status === 200, `a count is accepted: ${counted.status}`);
  check(await until(async () => !(await unexplained(lost))), "which settles it");
  const sent = await client.step(other, "outbound");
  check(sent.status === 200 && !sent.json.lines[0].missingUnits, `the other order goes out: ${sent.status}`);
  await holds(scarce, [0, 0, 0], "nothing is left");
});
