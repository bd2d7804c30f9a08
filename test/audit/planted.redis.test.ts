/**
 * Personal data and secrets, planted in every input there is, and searched for wherever
 * something is written: the log, the metrics, readiness, dead letters, and Redis itself. A real `serve` on a Redis
 * with a password, before a WMS and a bucket that repeat all they are sent in their refusals.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Redis } from "ioredis";
import { Packr } from "msgpackr";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chainId } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { onCluster, withRedis } from "../redis/with-redis.js";

const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));
const PREFIX = "planted";

const SECRETS = {
  redis: "planted-redis-password",
  token: "planted-own-token-0123456789",
  wms: "planted-wms-token",
  keyId: "PLANTEDKEYID",
  bucket: "planted/bucket+secret",
  wrong: "planted-wrong-token-0123456789",
};
/** Each text is found in what was written only if it came from this buyer. */
const buyer = (who: string) => ({
  name: `${who}-种植名`,
  phone: "139-8765-4321",
  province: "浙江省",
  city: "杭州市",
  district: "西湖区",
  address: `浙江省杭州市西湖区${who}路4781号${who}大厦B座, back door behind the ${who} garden, 请放在门口`,
  note: `${who}-note "quoted" \n second line`,
});
type Buyer = ReturnType<typeof buyer>;
const TAKEN = buyer("planted-taken");
const REFUSED = buyer("planted-refused");
const FAULTY = buyer("planted-faulty");
/** What all buyers' texts and all secrets have in common, and a phone that is the same for all. */
const TRACES = ["planted-", "PLANTEDKEYID", "planted/bucket", "种植名", "8765-4321", "87654321"];

const redis = withRedis();
const patience = { timeout: 30_000, interval: 50 };
let admin: Redis;
let redisUrl: string;
let wms: Server;
let bucket: Server;
let serve: ChildProcess;
let url: string;
/** All that the process has written. */
let written = "";
/** The next answer of the WMS and the bucket; undefined: they accept. */
let wmsAnswer: ((path: string, body: string) => { status: number; body: string } | undefined) | undefined;
let bucketFails = true;

const listening = async (answer: (body: string, request: IncomingMessage, response: ServerResponse) => void) => {
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    answer(Buffer.concat(parts).toString(), request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
};
const portOf = (server: Server): number => (server.address() as AddressInfo).port;

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** The command accepts only its own variables, not the tests'. */
const environment = (own: Record<string, string>) => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SHUIWEI_"))),
  ...own,
});

beforeAll(async () => {
  if (onCluster) return;
  admin = redis.connect() as Redis;
  const port = await freePort();
  await admin.config("SET", "port", port);
  await admin.config("SET", "requirepass", SECRETS.redis);
  redisUrl = `redis://:${SECRETS.redis}@127.0.0.1:${port}`;
  wms = await listening((body, request, response) => {
    const answer = wmsAnswer?.(request.url ?? "", body);
    response.writeHead(answer?.status ?? 201, { "content-type": "application/json" });
    response.end(answer?.body);
  });
  bucket = await listening((body, request, response) => {
    if (!bucketFails) return void response.end();
    response.writeHead(403, { "content-type": "application/xml" });
    const words = `${request.headers.authorization} may not put ${body.replaceAll("<", "")}`;
    response.end(`<Error><Code>InvalidAccessKeyId</Code><Message>${words}</Message></Error>`);
  });
  serve = spawn(
    process.execPath,
    [
      ...[CLI, "serve", "--port", "0", "--prefix", PREFIX, "--log-level", "info", "--drain-delay", "0"],
      ...["--wms-url", `http://127.0.0.1:${portOf(wms)}`, "--objects-key-id", SECRETS.keyId],
      ...["--objects-url", `s3+http://127.0.0.1:${portOf(bucket)}/orders?region=cn-east-1`],
    ],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: environment({
        SHUIWEI_REDIS_URL: redisUrl,
        SHUIWEI_TOKENS: `shop:admin:${SECRETS.token}`,
        SHUIWEI_WMS_TOKEN: SECRETS.wms,
        SHUIWEI_OBJECTS_SECRET: SECRETS.bucket,
      }),
    },
  );
  serve.stderr?.on("data", (bytes: Buffer) => {
    written += bytes;
  });
  url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: serve.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      written += `${line}\n`;
      const found = /http:\/\/[\d.:]+/.exec(line)?.[0];
      if (found) resolve(found);
    });
    serve.once("exit", (status) => reject(new Error(`ended with ${status}: ${written}`)));
  });
});

afterAll(async () => {
  serve?.removeAllListeners("exit").kill("SIGTERM");
  if (serve && serve.exitCode === null) await once(serve, "exit");
  for (const server of [wms, bucket]) {
    server?.closeAllConnections();
    server?.close();
  }
});

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const isRaw = typeof body === "string" || body instanceof Uint8Array;
  const answer = await fetch(url + path, {
    method,
    headers: {
      authorization: `Bearer ${SECRETS.token}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: isRaw ? (body as string) : JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, text };
}

const freshId = () => chainId("PL", systemClock.now());

async function paid(shipTo: Buyer): Promise<string> {
  const id = freshId();
  const answer = await call("POST", "/v1/orders", { id, lines: [{ sku: "A", units: 1 }], shipTo });
  expect(answer.status).toBe(201);
  expect((await call("POST", `/v1/orders/${id}/payment`)).status).toBe(200);
  return id;
}

const stepsOf = async (id: string): Promise<string[]> =>
  JSON.parse((await call("GET", `/v1/orders/${id}`)).text).steps.map(({ step }: { step: string }) => step);

function shuiwei(...args: string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [CLI, ...args, "--prefix", PREFIX],
      { encoding: "utf8", env: environment({ SHUIWEI_REDIS_URL: redisUrl }) },
      (_error, out, err) => resolve(out + err),
    );
  });
}

const deadLetters = (...args: string[]) => shuiwei("dead-letters", ...args, "--from", "orders/wms");

/** Each key of Redis with all that it holds. */
async function stored(): Promise<Map<string, string>> {
  const held = new Map<string, string>();
  for (const key of await admin.keys("*")) {
    const type = await admin.type(key);
    const bytes = await {
      string: () => admin.getBuffer(key),
      hash: () => admin.callBuffer("HGETALL", key),
      list: () => admin.callBuffer("LRANGE", key, 0, -1),
      set: () => admin.callBuffer("SMEMBERS", key),
      zset: () => admin.callBuffer("ZRANGE", key, 0, -1),
      stream: () => admin.callBuffer("XRANGE", key, "-", "+"),
    }[type as "string"]?.();
    const flat = (value: unknown): string =>
      Array.isArray(value) ? value.map(flat).join("\n") : Buffer.isBuffer(value) ? value.toString() : String(value);
    held.set(key, `${key}\n${flat(bytes)}`);
  }
  return held;
}

/** The planted texts in a text, with what is around them. */
const tracesIn = (text: string): string[] =>
  TRACES.flatMap((trace) => {
    const at = text.indexOf(trace);
    return at < 0 ? [] : [text.slice(Math.max(0, at - 100), at + 60)];
  });

const readable = async () => [
  written,
  (await call("GET", "/metrics")).text,
  (await call("GET", "/readyz")).text,
  (await call("GET", "/v1/exceptions")).text,
];
/** Redis has it in the texts of so many orders, under the key that is theirs, and nowhere else. */
const expectOnlyBeside = async (orders: number) => {
  const keys = [...(await stored())].filter(([, text]) => tracesIn(text).length > 0).map(([key]) => key);
  for (const key of keys) expect(key).toContain(":buyers:");
  const held = await Promise.all((await admin.keys("*:buyers:*")).map((key) => admin.hlen(key)));
  expect(held.reduce((sum, each) => sum + each, 0)).toBe(orders);
};
const expectNoTrace = async () => {
  for (const text of await readable()) expect(tracesIn(text)).toEqual([]);
};

// A password, and connections that are ended, are one server's.
describe.skipIf(onCluster)("personal data and secrets", () => {
  it("are in no output when they come in requests at fault", async () => {
    const sku = { kind: "receive", sku: "A", location: "main", units: 100 };
    await call("POST", "/v1/commands", `${JSON.stringify({ ...sku, id: freshId() })}\n`, {
      "content-type": "application/x-ndjson",
    });
    const shipTo = FAULTY;
    const refused = freshId();
    const lines = [{ sku: "A", units: 1 }];
    const packed = new Packr({ useRecords: false }).pack([{ ...sku, id: FAULTY.name, [FAULTY.phone]: FAULTY.note }]);
    const ndjson = { "content-type": "application/x-ndjson" };
    const msgpack = { "content-type": "application/msgpack" };
    const bad: [path: string, body: unknown, headers?: Record<string, string>][] = [
      ["/v1/orders", `{"shipTo":${JSON.stringify(shipTo)},"lines":[}`],
      ["/v1/orders", `{"shipTo":{"name":"${FAULTY.name}","name":"${FAULTY.name}"},"lines":[]}`],
      ["/v1/orders", { id: FAULTY.name, lines, shipTo }],
      ["/v1/orders", { lines, shipTo: { ...shipTo, [FAULTY.name]: FAULTY.phone } }],
      ["/v1/orders", { lines, shipTo: FAULTY.address }],
      ["/v1/orders", { lines, shipTo: { name: FAULTY.name.repeat(20), phone: [FAULTY.phone] } }],
      ["/v1/orders", { lines, shipTo: { ...shipTo, note: `${FAULTY.note}\u0000` } }],
      ["/v1/orders", { lines: [{ sku: FAULTY.name, location: FAULTY.address, units: FAULTY.phone }], shipTo }],
      ["/v1/orders", { id: refused, lines: [{ sku: "NONE", units: 1 }], shipTo }],
      ["/v1/orders", { lines, shipTo }, { "content-type": `text/${encodeURIComponent(FAULTY.name)}` }],
      ["/v1/orders", { lines, shipTo }, { "content-encoding": "planted-encoding" }],
      ["/v1/commands", `${JSON.stringify(shipTo)}\n{"${FAULTY.name}`, ndjson],
      ["/v1/commands", packed, msgpack],
      ["/v1/commands", packed.subarray(0, packed.length - 3), msgpack],
      [`/v1/orders/${encodeURIComponent(FAULTY.name)}/payment`, undefined],
      [`/v1/orders/${freshId()}/waybill`, { source: FAULTY.name, waybill: FAULTY.phone, carrier: FAULTY.address }],
      ["/v1/sessions", { code: SECRETS.wrong }],
      [`/v1/orders?token=${SECRETS.wrong}`, { lines, shipTo }, { authorization: "" }],
      ["/v1/orders", { lines, shipTo }, { authorization: `Bearer ${SECRETS.wrong}` }],
      ["/v1/orders", { lines, shipTo }, { authorization: `Basic ${SECRETS.wrong}` }],
      ["/v1/orders", { lines, shipTo }, { authorization: "", cookie: `shuiwei_session=${SECRETS.wrong}` }],
      ["/v1/orders", { lines, shipTo }, { authorization: `Bearer ${SECRETS.token}x` }],
    ];
    const statuses: number[] = [];
    for (const [path, body, headers] of bad) statuses.push((await call("POST", path, body, headers)).status);
    expect(statuses.filter((status) => status < 400 || status >= 500)).toEqual([]);
    // Of one address the first failure is reported, whatever was wrong.
    expect(written).toMatch(/a login with a wrong (token|pairing code) failed/);
    await expectNoTrace();
    // An order that could not be had may be placed again until it is taken for one that is never paid.
    await expectOnlyBeside(1);
    // The bucket refuses its part, which is tried again; Redis is clean at once.
    expect((await call("DELETE", `/v1/orders/${refused}/personal-data`)).status).toBe(503);
    await expectOnlyBeside(0);
  });

  it("are in no output while the bucket refuses, and leave Redis when the warehouse has the order", async () => {
    const id = await paid(TAKEN);
    await expect
      .poll(async () => (await call("GET", "/metrics")).text, patience)
      .toMatch(/^shuiwei_sink_retries_total\{sink="wms"\} [1-9]/m);
    await expectNoTrace();
    expect(written).toContain("deliveries to wms wait: object storage: ");
    expect((await call("GET", "/readyz")).text).toContain("403 InvalidAccessKeyId");
    await expectOnlyBeside(1);
    bucketFails = false;
    await expect.poll(() => stepsOf(id), patience).toContain("picking");
    await expectOnlyBeside(0);
    await expectNoTrace();
  });

  it("are in no output when the WMS repeats them in a refusal, and only beside the order until it is accepted", async () => {
    const quoted = (body: string) => `${body} of ${JSON.stringify(REFUSED)}, with ${SECRETS.wms}`;
    // First an answer like a gateway's fault, then the WMS's own refusal of this order.
    let answers = 0;
    wmsAnswer = (_path, body) => {
      const kind = answers++;
      if (kind === 0) return { status: 500, body: quoted(body) };
      if (kind === 1) return { status: 400, body: quoted(body) };
      return { status: 422, body: JSON.stringify({ code: "invalid_order", message: quoted(body) }) };
    };
    const id = await paid(REFUSED);
    await expect.poll(() => deadLetters("list"), patience).toContain("1 dead letters");
    const listed = `${await deadLetters("list")}\n${await deadLetters("list", "--json")}`;
    const [deadLetter = ""] = /\d+\/\d+-\d+/.exec(listed) ?? [];
    const shown = await deadLetters("show", deadLetter);
    expect(shown).toContain(id);
    const replayed = await deadLetters("replay", deadLetter);
    expect(replayed).toContain("invalid_order");
    for (const text of [listed, shown, replayed]) expect(tracesIn(text)).toEqual([]);
    await expectNoTrace();
    expect(written).toContain("became a dead letter: HTTP 422 invalid_order");
    await expectOnlyBeside(1);
    wmsAnswer = undefined;
    await deadLetters("replay", "all");
    await expect.poll(() => stepsOf(id), patience).toContain("picking");
    await expectOnlyBeside(0);
  });

  it("are in no output when Redis ends the connections, refuses to write, or has another password", async () => {
    wmsAnswer = () => ({ status: 503, body: JSON.stringify(TAKEN) });
    await paid(TAKEN);
    await admin.call("CLIENT", "KILL", "TYPE", "normal");
    const shipTo = FAULTY;
    const order = { lines: [{ sku: "A", units: 1 }], shipTo };
    for (let i = 0; i < 5; i++) await call("POST", "/v1/orders", order);
    await admin.config("SET", "maxmemory", 1);
    for (let i = 0; i < 3; i++) expect((await call("POST", "/v1/orders", order)).status).toBe(503);
    await admin.config("SET", "maxmemory", 0);
    await admin.config("SET", "requirepass", "planted-other-password");
    await admin.call("CLIENT", "KILL", "TYPE", "normal");
    for (let i = 0; i < 3; i++) await call("POST", "/v1/orders", order);
    await expect.poll(() => written, patience).toMatch(/WRONGPASS|NOAUTH|password/i);
    expect(tracesIn(await shuiwei("audit"))).toEqual([]);
    await admin.config("SET", "requirepass", SECRETS.redis);
    await expect.poll(async () => (await call("POST", "/v1/orders", order)).status, patience).toBe(201);
    await expectNoTrace();
  });
});
