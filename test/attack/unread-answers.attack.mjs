/**
 * Takes places for good: 200 connections, each pipelines 8 requests for a large file and 1,000 (or 20) small ones,
 * reads nothing and is reset after a while, for 30 seconds. Mended when an honest client's orders go on at the same
 * time with at most 2 in a hundred refused, and nothing is under way one second after the attack.
 */
import { connect } from "node:net";
import { attack, sleep } from "./harness.mjs";

const CONNECTIONS = 200;
const ATTACK_MS = 30_000;
const ORDER_EVERY_MS = 50;
/** Each connection stands for a while and is then reset: a hundred of them begin anew in a second. */
const STAND_MS = [1_000, 3_000];
const MAX_REFUSED_SHARE = 0.02;
/** One a second: more is a matter of the machine. */
const MIN_ORDERS = 30;

const get = (path, host) => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

await attack(
  "connections that never read their answers do not block other clients",
  async ({ client, url, print, check }) => {
    const { host, hostname, port } = new URL(url);
    const large = get("/docs/static/swagger-ui-bundle.js", host).repeat(8);
    // Half of them keep within what a connection may send, so that they are not closed for that.
    const payloads = [1_000, 20].map((small) => large + get("/v1/stock/x", host).repeat(small));
    const sku = await client.receive(1_000_000);
    const endMs = performance.now() + ATTACK_MS;
    const goesOn = () => performance.now() < endMs;
    let made = 0;

    const attackFromOne = async (_, i) => {
      while (goesOn()) {
        const socket = connect(Number(port), hostname);
        socket.on("error", () => {});
        socket.pause();
        socket.write(payloads[i % 2]);
        made++;
        await sleep(STAND_MS[0] + Math.random() * (STAND_MS[1] - STAND_MS[0]));
        socket.resetAndDestroy();
      }
    };
    const answers = {};
    const order = async () => {
      while (goesOn()) {
        const answer = await client
          .place([[sku, 1]])
          .catch((fault) => ({ status: fault.cause?.code ?? fault.message }));
        answers[answer.status] = (answers[answer.status] ?? 0) + 1;
        await sleep(ORDER_EVERY_MS);
      }
    };
    await Promise.all([order(), ...Array.from({ length: CONNECTIONS }, attackFromOne)]);
    print(`${made} connections; answers to orders: ${JSON.stringify(answers)}`);

    await sleep(1_000);
    for (const name of ["shuiwei_http_requests_under_way", "shuiwei_http_bulk_requests_under_way"]) {
      const left = await client.metric(name);
      check(left === 0, `${name} is 0 a second later: ${left}`);
    }
    const all = Object.values(answers).reduce((sum, count) => sum + count, 0);
    const refused = all - (answers[201] ?? 0);
    check(all >= MIN_ORDERS, `at least ${MIN_ORDERS} orders were answered: ${all}`);
    check(refused <= all * MAX_REFUSED_SHARE, `at most 2 in a hundred were refused: ${refused} of ${all}`);
    const after = await client.place([[sku, 1]]);
    check(after.status === 201, `an order afterwards is taken: ${after.status}`);
  },
);
