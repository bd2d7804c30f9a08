/**
 * A paid order is cancelled after the warehouse's system (WMS) has it: units that are released before the warehouse
 * confirms are sold twice when it has packed them already (R3). So the cancellation is only requested at first (202),
 * and the WMS's answer decides. The WMS is a small one of the script's own; it answers a cancellation when the script
 * sets the answer.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { attack, chainId, until } from "./harness.mjs";

/** Orders that the WMS has, and its answer to a withdrawal; 503 until one is set. */
const known = new Set();
const letsGo = new Map();
const asked = new Set();

const answerTo = (path) => {
  const [, order, isCancellation] = /^\/v1\/picking-orders(?:\/([^/]+)(\/cancellation))?$/.exec(path) ?? [];
  if (!isCancellation) return { status: 201 };
  asked.add(order);
  return letsGo.get(order) ?? { status: 503 };
};

async function startWms(onEnd) {
  const server = createServer(async (request, reply) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { status, code } = answerTo(request.url);
    if (status === 201) known.add(JSON.parse(Buffer.concat(chunks).toString()).orderNo);
    reply.writeHead(status, { "content-type": "application/json" });
    reply.end(JSON.stringify(code === undefined ? {} : { code }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onEnd(async () => {
    server.closeAllConnections();
    server.close();
  });
  return ["--wms-url", `http://127.0.0.1:${server.address().port}`];
}

await attack(
  "units of a paid order stay committed until the warehouse confirms the cancellation",
  async ({ client, check }) => {
    const holds = async (sku, [sellable, committed], text) => {
      const is = await client.balances(sku);
      const holds = is.sellable === sellable && is.committed === committed && is.reserved === 0;
      check(holds, `${text}: sellable ${is.sellable}, reserved ${is.reserved}, committed ${is.committed}`);
    };
    const read = async (id) => (await client.send("GET", `/v1/orders/${id}`)).json;
    const stateOf = async (id) => (await read(id)).lines[0].state;
    /** An order at the warehouse, whose cancellation is asked for and not answered. */
    const cancelling = async (sku) => {
      const id = chainId();
      await client.place([[sku, 2]], { id });
      const paid = await client.step(id, "payment");
      check(paid.status === 200, `an order of 2 units is paid: ${paid.status}`);
      check(await until(() => known.has(id)), "the warehouse has it");
      const cancelled = await client.step(id, "cancellation");
      check(
        cancelled.status === 202 && cancelled.json.outcome === "cancelling",
        `its cancellation is asked for: ${cancelled.status} ${cancelled.json.outcome}`,
      );
      check(await until(() => asked.has(id)), "the warehouse is asked");
      const again = await client.step(id, "cancellation");
      check(again.status === 202, `asked again it is still under way: ${again.status} ${again.json.outcome}`);
      return id;
    };

    const sku = await client.receive(2);
    const packed = await cancelling(sku);
    await holds(sku, [0, 2], "nothing is given back meanwhile");
    const other = await client.place([[sku, 1]]);
    check(
      other.status === 409,
      `no other order can get the units: ${other.status} ${other.json.code ?? other.json.outcome}`,
    );
    letsGo.set(packed, { status: 409, code: "already_picked" });
    check(await until(async () => (await stateOf(packed)) === "paid", 30_000), "already picked: the order goes on");
    await holds(sku, [0, 2], "with its units");
    const { exceptions } = (await until(async () => {
      const seen = await read(packed);
      return seen.exceptions.some(({ kind }) => kind === "cancellation_refused") && seen;
    })) || { exceptions: [] };
    check(exceptions.length > 0, `an exception reports it: ${JSON.stringify(exceptions)}`);
    const refused = await client.step(packed, "cancellation");
    check(refused.status === 409, `cancelled once more it is refused: ${refused.status} ${refused.json.code}`);
    const left = await client.step(packed, "outbound");
    check(left.status === 200 && !left.json.lines[0].missingUnits, `it goes out: ${left.status}`);
    await holds(sku, [0, 0], "its units have left");

    const free = await client.receive(2);
    const withdrawn = await cancelling(free);
    await holds(free, [0, 2], "nothing is given back meanwhile");
    letsGo.set(withdrawn, { status: 200 });
    check(
      await until(async () => (await stateOf(withdrawn)) === "cancelled_paid", 30_000),
      "withdrawn: the order is cancelled",
    );
    await holds(free, [2, 0], "its units are back");
    const repeated = await client.step(withdrawn, "cancellation");
    check(
      repeated.status === 200 && repeated.json.outcome === "cancelled_paid",
      `cancelled once more the answer is the same: ${repeated.status} ${repeated.json.outcome}`,
    );
    await holds(free, [2, 0], "and gives nothing back again");
  },
  { serve: startWms },
);
