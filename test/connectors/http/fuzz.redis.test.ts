/**
 * Fuzz of the whole surface against a real server and a real Redis: valid bodies and every kind of mutation of them,
 * wrong paths, queries and raw bytes. Whatever is sent, the answer is one that is documented, is a problem when it is
 * an error, and is never a 5xx but a 503 with Retry-After; the ledger's balances agree with the accepted answers.
 */
import { Agent } from "node:http";
import fc from "fast-check";
import { Packr } from "msgpackr";
import { afterAll, expect, it } from "vitest";
import { stopwatch } from "../../../engine/kernel/clock.js";
import { lengthOf } from "../../length.js";
import { type Answer, freshId, httpBed, send } from "./http-bed.js";

const bed = httpBed();
const agent = new Agent({ keepAlive: true, maxSockets: 16 });
afterAll(() => agent.destroy());

const packr = new Packr({ useRecords: false });
const ERRORS = new Set([400, 401, 404, 405, 409, 413, 414, 415, 422, 429, 431, 503]);
const seen = new Map<number, number>();
let requests = 0;
/** Bodies that are sent at once. */
const BODIES = 12;
const BODY_RUNS = lengthOf({ short: 50, long: 130 });
const OTHER_RUNS = lengthOf({ short: 120, long: 300 });

function check(answer: Answer, what: string): void {
  requests++;
  seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1);
  if (answer.status < 400) return;
  expect(ERRORS, `${answer.status} for ${what}: ${answer.text}`).toContain(answer.status);
  expect(answer.headers["content-type"], what).toMatch(/^application\/problem\+json/);
  expect(answer.json.type, what).toBe(`urn:shuiwei:${answer.json.code}`);
  expect(answer.text, what).not.toMatch(/\bat .*\.[jt]s:\d+/);
  if (answer.status === 503) expect(answer.headers["retry-after"], what).toMatch(/^[1-9]\d*$/);
}

const skus = ["F1", "F2", "茶", "a/b", "unknown"];
const anySku = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...skus) },
  fc.string({ unit: "binary", maxLength: 70 }),
);
const validUnits = fc.integer({ min: 1, max: 3 });
const oddUnits = fc.constantFrom<unknown>(
  0,
  -1,
  1.5,
  2 ** 53,
  -(2 ** 53),
  1e308,
  "3",
  true,
  null,
  [],
  {},
  [1],
  -0,
  5e-324,
  "1e3",
  "",
);
const strange = fc.oneof(
  oddUnits,
  fc.anything({ maxDepth: 3, withNullPrototype: false }).map((value) => toJson(value)),
  fc.string({ unit: "binary" }),
  fc.nat(6).map((depth) => nested(10 ** Math.min(depth, 3))),
  fc.constantFrom(
    "__proto__",
    "constructor",
    "toString",
    "\u0000",
    "\ud800",
    "x".repeat(5_000),
    "💧".repeat(65),
    "\u001f",
    "%00",
    "../..",
    "{{7*7}}",
    "'; DROP",
  ),
);

/** A value as JSON; something that JSON cannot express is left out. */
function toJson(value: unknown): unknown {
  try {
    return JSON.parse(JSON.stringify(value) ?? "null");
  } catch {
    return null;
  }
}
function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

type Body = Record<string, unknown>;
const order: fc.Arbitrary<Body> = fc.record(
  {
    id: fc.constantFrom("fresh", "same"),
    lines: fc.array(
      fc.record(
        { sku: anySku, units: validUnits, location: fc.constantFrom("main", "east") },
        { requiredKeys: ["sku", "units"] },
      ),
      { minLength: 1, maxLength: 3 },
    ),
    holdMs: fc.integer({ min: 1, max: 100_000 }),
  },
  { requiredKeys: ["lines"] },
);
const command: fc.Arbitrary<Body> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("receive", "return", "reserve", "pay", "cancel", "outbound"),
    id: fc.constant("fresh"),
    sku: anySku,
    units: validUnits,
  }),
  fc.record({
    kind: fc.constant("correct"),
    id: fc.constant("fresh"),
    sku: anySku,
    units: fc.integer({ min: -3, max: 3 }),
    actor: fc.constant("a"),
    reason: fc.constant("b"),
  }),
  fc.record(
    {
      kind: fc.constant("move"),
      id: fc.constant("fresh"),
      sku: anySku,
      units: validUnits,
      from: fc.constantFrom("sellable", "safety"),
      to: fc.constantFrom("sellable", "safety"),
      toLocation: fc.constantFrom("main", "east"),
      actor: fc.constant("a"),
      reason: fc.constant("b"),
    },
    { requiredKeys: ["kind", "id", "sku", "units", "from", "to", "actor", "reason"] },
  ),
  fc.record({
    kind: fc.constant("configure"),
    id: fc.constant("fresh"),
    sku: anySku,
    settings: fc.record(
      { displayCoefficient: fc.double({ min: 0, max: 1, noNaN: true }), alertFactor: fc.constant(3) },
      { requiredKeys: [] },
    ),
  }),
  fc.record({
    kind: fc.constant("acknowledge"),
    id: fc.constant("fresh"),
    sku: anySku,
    actor: fc.constant("a"),
    alertId: fc.constant("F1#1"),
  }),
);
const acknowledgement: fc.Arbitrary<Body> = fc.record({ actor: fc.string({ minLength: 1, maxLength: 70 }) });
const settings: fc.Arbitrary<Body> = fc.record(
  { settings: fc.record({ displayCoefficient: fc.constant(0.3) }), actor: fc.constant("a") },
  { requiredKeys: ["settings"] },
);
const breaker: fc.Arbitrary<Body> = fc.record({
  action: fc.constant("close"),
  scope: fc.record(
    { kind: fc.constantFrom("shop", "location", "sku"), sku: anySku, location: fc.constant("main") },
    { requiredKeys: ["kind"] },
  ),
  actor: fc.constant("a"),
  reason: fc.constant("b"),
});

const sameId = freshId();
/** Puts ids where a body asks for one, and keeps what a mutation has put there. */
function withIds(body: unknown): unknown {
  if (typeof body !== "object" || body === null) return body;
  const { id } = body as Body;
  if (id === "fresh") return { ...body, id: freshId() };
  return id === "same" ? { ...body, id: sameId } : body;
}

/** Changes, leaves out or adds one thing somewhere in a body. */
const mutation = fc.record({
  steps: fc.array(fc.nat(7), { minLength: 1, maxLength: 4 }),
  how: fc.constantFrom("replace", "remove", "add"),
  value: strange,
  name: fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom("__proto__", "constructor", "id", "units", "attempt", "kind"),
  ),
});
type Mutation = typeof mutation extends fc.Arbitrary<infer M> ? M : never;
function mutated(body: unknown, { steps, how, value, name }: Mutation): unknown {
  const copy = structuredClone(body);
  let at = copy as Body;
  for (const [i, step] of steps.entries()) {
    const keys = Object.keys(at);
    const key = keys[step % Math.max(1, keys.length)];
    const inner = key === undefined ? undefined : at[key];
    if (i === steps.length - 1 || typeof inner !== "object" || inner === null) {
      // A list's own length cannot be another property.
      if (Object.hasOwn(at, name) && Object.getOwnPropertyDescriptor(at, name)?.configurable === false) return copy;
      if (how === "add" || key === undefined)
        Object.defineProperty(at, name, { value, enumerable: true, configurable: true, writable: true });
      else if (how === "remove") delete at[key];
      else at[key] = value;
      return copy;
    }
    at = inner as Body;
  }
  return copy;
}

const targets = fc.constantFrom<[string, fc.Arbitrary<Body>][]>(
  ["POST /v1/orders", order],
  ["POST /v1/orders", order],
  ["POST /v1/commands", command],
  ["POST /v1/commands", command],
  ["POST /v1/alerts/F1%231/acknowledgement", acknowledgement],
  ["PUT /v1/skus/F1/settings", settings],
  ["POST /v1/breaker", breaker],
);
const bodies = targets.chain(([target, body]) =>
  fc.record({
    target: fc.constant(target),
    many: target === "POST /v1/commands" ? fc.array(body, { minLength: 1, maxLength: 4 }) : fc.tuple(body),
    change: fc.option(mutation, { freq: 2 }),
    packed: fc.boolean(),
  }),
);

async function sendBody({
  target,
  many,
  change,
  packed,
}: {
  target: string;
  many: Body[];
  change: Mutation | null;
  packed: boolean;
}): Promise<[Answer, string]> {
  const [method = "", path = ""] = target.split(" ");
  const prepared = many.map(withIds);
  const changed = change ? [mutated(prepared[0], change), ...prepared.slice(1)] : prepared;
  let payload: string | Uint8Array;
  let type = "application/json";
  if (path !== "/v1/commands") payload = JSON.stringify(changed[0]) ?? "";
  else if (packed) {
    payload = packr.pack(changed);
    type = "application/msgpack";
  } else {
    payload = changed.map((each) => JSON.stringify(each)).join("\n");
    type = "application/x-ndjson";
  }
  const answer = await send(bed.port, method, path, { body: payload, headers: { "content-type": type }, agent });
  return [answer, `${target} ${payload instanceof Uint8Array ? JSON.stringify(changed) : payload}`.slice(0, 2_000)];
}

it("no request makes the server fail, and the balances stay correct", { timeout: 180_000 }, async () => {
  const elapsed = stopwatch();
  for (const sku of ["F1", "F2", "茶", "a/b"])
    for (const location of ["main", "east"]) await bed.receive(sku, 1_000, location);

  // Bodies: valid ones and their mutations.
  await fc.assert(
    fc.asyncProperty(fc.array(bodies, { minLength: BODIES, maxLength: BODIES }), async (batch) => {
      for (const [answer, what] of await Promise.all(batch.map(sendBody))) check(answer, what);
    }),
    { numRuns: BODY_RUNS },
  );

  // Raw bytes and cut texts under every content type.
  const types = fc.constantFrom(
    "application/json",
    "application/x-ndjson",
    "application/msgpack",
    "text/plain",
    "application/json; charset=latin1",
    "x",
    "",
  );
  const whole = JSON.stringify({ lines: [{ sku: "F1", units: 1 }] });
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc
      .tuple(fc.nat(whole.length), fc.string({ maxLength: 3 }))
      .map(([at, insertion]) => Buffer.from(whole.slice(0, at) + insertion + whole.slice(at + 1))),
    fc.json().map((text) => Buffer.from(text)),
    fc.constantFrom(50_000, 100_000).map((depth) => Buffer.from("[".repeat(depth))),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("/v1/orders", "/v1/commands", "/v1/breaker", `/v1/orders/${freshId()}/payment`),
      types,
      bytes,
      async (path, type, body) => {
        const answer = await send(bed.port, "POST", path, { body, headers: { "content-type": type }, agent });
        check(answer, `${path} ${type} ${Buffer.from(body).toString("latin1")}`);
      },
    ),
    { numRuns: OTHER_RUNS },
  );

  // Paths and queries.
  const part = fc.oneof(
    fc.constantFrom(
      "v1",
      "stock",
      "orders",
      "ledger",
      "alerts",
      "F1",
      "%00",
      "%FF",
      "%",
      "..",
      "*",
      ":id",
      "payment",
      freshId(),
    ),
    fc.string({ unit: "binary", maxLength: 20 }).map(safelyEncoded),
  );
  const query = fc.array(fc.tuple(fc.constantFrom("sku", "by", "state", "limit", "count", "__proto__", "x"), part), {
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"),
      fc.array(part, { maxLength: 4 }),
      query,
      async (method, parts, pairs) => {
        const path = `/${parts.join("/")}?${pairs.map(([name, value]) => `${name}=${value}`).join("&")}`;
        const answer = await send(bed.port, method, path, { agent });
        if (method === "HEAD") requests++;
        else check(answer, `${method} ${path}`);
      },
    ),
    { numRuns: OTHER_RUNS },
  );

  console.log(
    `${requests} requests in ${Math.round(elapsed())} ms, by status: ${JSON.stringify(Object.fromEntries([...seen].sort()))}`,
  );
  expect(requests).toBeGreaterThanOrEqual(BODY_RUNS * BODIES + 2 * OTHER_RUNS);
  expect(seen.get(201) ?? 0).toBeGreaterThan(BODY_RUNS / 3);
  for (let partition = 0; partition < bed.ledger.partitions; partition++) {
    for await (const { balances } of bed.ledger.cells(partition)) {
      for (const units of Object.values(balances)) expect(units).toBeGreaterThanOrEqual(0);
    }
  }
  expect(({} as Body)["polluted"]).toBeUndefined();
  expect(bed.troubles).toEqual([]);
});

/** A part of a path as a client would encode it; a lone surrogate cannot be. */
function safelyEncoded(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    return "%ED%A0%80";
  }
}
