/**
 * Every route of the API document, whatever it is for: without a token it is refused unless it is public by design,
 * with a person's session it writes from pages of this server only, and no odd parameter or body makes it fail.
 */
import { beforeAll, expect, it } from "vitest";
import { apiDocument } from "../../openapi/document.js";
import { httpBed, send } from "./http-bed.js";

const bed = httpBed();
/** What needs no token: what customers are shown, health, and how to get a session. */
const PUBLIC = [
  ...["GET /healthz", "GET /readyz", "POST /v1/sessions"],
  ...["GET /v1/stock", "GET /v1/stock/{sku}", "GET /v1/stock/stream"],
  ...["GET /v1/publication/manifest.json", "GET /v1/publication/{file}"],
];
const METHODS = ["get", "put", "post", "delete", "patch"];
/** Of a path and a body; each is legal in some place. */
const ODD = ["__proto__", "constructor", "%00", "a%2Fb", "%F0%9F%8D%B5", "..%2F..", "me", "%23", "x".repeat(900)];

interface Operation {
  readonly method: string;
  readonly path: string;
}

let operations: Operation[] = [];
let phone: Record<string, string>;

beforeAll(async () => {
  const { paths } = await apiDocument();
  operations = Object.entries(paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => method in methods).map((method) => ({ method: method.toUpperCase(), path })),
  );
  const li = { name: "Li", roles: [], language: "en", ladder: [] };
  await bed.send("PUT", "/v1/people/li", { body: li });
  const { code } = (await bed.send("POST", "/v1/people/li/pairings", { body: {} })).json;
  const { headers } = await bed.send("POST", "/v1/sessions", { anonymous: true, body: { code } });
  phone = { cookie: (headers["set-cookie"]?.[0] ?? "").split(";")[0] as string };
});

const filled = (path: string, value = "1") => path.replace(/\{[^}]+\}/g, value);
const bodyOf = ({ method }: Operation, body: unknown = {}) => (method === "GET" ? {} : { body });
const named = ({ method, path }: Operation) => `${method} ${path}`;

it("is refused without a token, unless it is public by design", async () => {
  expect(operations.length).toBeGreaterThan(70);
  const answered: string[] = [];
  for (const each of operations) {
    const { status } = await bed.send(each.method, filled(each.path), { anonymous: true, ...bodyOf(each) });
    if (status !== 401) answered.push(named(each));
  }
  expect(answered.sort()).toEqual(PUBLIC.filter((name) => operations.some((each) => named(each) === name)).sort());
});

it("writes with a phone's session from pages of this server only", async () => {
  const written: string[] = [];
  for (const each of operations.filter(({ method, path }) => method !== "GET" && path !== "/v1/sessions")) {
    for (const origin of [undefined, "https://evil.example", "null"]) {
      const headers = { ...phone, ...(origin === undefined ? {} : { origin }) };
      const { json } = await bed.send(each.method, filled(each.path), { anonymous: true, headers, ...bodyOf(each) });
      if (json?.code !== "forbidden_origin") written.push(`${named(each)} ${json?.code}`);
    }
  }
  expect(written).toEqual([]);
});

it("does not fail on odd parameters and bodies", { timeout: 180_000 }, async () => {
  const failed: string[] = [];
  const withParameter = operations.filter(({ path }) => path.includes("{"));
  const odd = [
    ...ODD.map((value) => ({ value, body: {} as unknown })),
    { value: "1", body: [] },
    { value: "1", body: 7 },
  ];
  for (const { value, body } of odd)
    for (const each of withParameter) {
      const { status } = await bed.send(each.method, filled(each.path, value), bodyOf(each, body));
      if (status >= 500) failed.push(`${named(each)} ${value} ${status}`);
    }
  const prototypes = '{"__proto__":{"role":"admin"},"constructor":1}';
  for (const each of operations.filter(({ method }) => method !== "GET")) {
    const { status } = await send(bed.port, each.method, filled(each.path), { body: prototypes });
    if (status >= 500 || status < 400) failed.push(`${named(each)} prototype names ${status}`);
  }
  expect(failed).toEqual([]);
  expect(({} as { role?: string }).role).toBeUndefined();
  expect(bed.troubles).toEqual([]);
});
