/** What tools that read the OpenAPI document expect of it; `npm run test:openapi` runs such tools. */
import { beforeAll, expect, it } from "vitest";
import { type ApiDocument, apiDocument, type Operation } from "../../openapi/document.js";

let document: ApiDocument;
let operations: [name: string, operation: Operation][];

beforeAll(async () => {
  document = await apiDocument();
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, Operation] => [`${method} ${path}`, operation]),
  );
});

/** The names of the operations that a property does not hold for. */
const without = (holds: (operation: Operation) => boolean): string[] =>
  operations.filter(([, operation]) => !holds(operation)).map(([name]) => name);

/** Every value under this name, anywhere in the document. */
function* valuesOf(name: string, node: unknown = document): Generator<{ value: unknown; beside: object }> {
  if (typeof node !== "object" || node === null) return;
  for (const [key, value] of Object.entries(node)) {
    if (key === name) yield { value, beside: node };
    yield* valuesOf(name, value);
  }
}

it("states for every operation which declared schemes authorize it", () => {
  const schemes = new Set(Object.keys(document.components.securitySchemes));
  expect(operations.length).toBeGreaterThan(20);
  expect(
    without(({ security }) => security?.every((each) => Object.keys(each).every((name) => schemes.has(name))) ?? false),
  ).toEqual([]);
});

it("needs no token for operations of customers and monitoring", () => {
  const open = operations.filter(([, { security }]) => security?.length === 0).map(([name]) => name);
  expect(open).toEqual(expect.arrayContaining(["get /v1/stock/{sku}", "get /v1/stock", "get /healthz", "get /readyz"]));
  expect(open.filter((name) => !name.startsWith("get "))).toEqual([]);
});

it("describes every operation, under a tag that is declared, with its faults", () => {
  const tags = new Set(document.tags.map(({ name }) => name));
  expect(without(({ summary, description }) => Boolean(summary && description))).toEqual([]);
  expect(without(({ tags: own }) => own?.length === 1 && own.every((name) => tags.has(name)))).toEqual([]);
  expect(without(({ responses }) => Object.keys(responses).some((status) => status.startsWith("4")))).toEqual([]);
});

it("names every operation by a verb and what it acts on, once", () => {
  const names = operations.map(([, { operationId }]) => operationId);
  expect(new Set(names).size).toBe(names.length);
  const verbs =
    /^(acknowledge|apply|cancel|create|delete|get|list|pay|place|record|request|revoke|set|settle|update)[A-Z]/;
  expect(names.filter((name) => !verbs.test(name))).toEqual([]);
});

it("has patterns that mean the same with and without the u flag", () => {
  const samples = [
    ..."aZ09 .-_#\u0000\t\n\u001f\u007f\u009f\u00a0李伟p{C}s😀\ud83d\ude00",
    "umbrellas",
    "li.wei@purchasing",
    "雨伞 😀",
    "TEA-0042#12",
    "😀#1",
    "  ",
    "a\ud83d",
    "\ude00a",
    "\ude00\ud83d",
    "line\nbreak",
    "bell\u0007",
  ];
  const patterns = new Set([...valuesOf("pattern")].map(({ value }) => value as string));
  expect(patterns.size).toBeGreaterThan(5);
  for (const pattern of patterns) {
    const [plain, unicode] = [new RegExp(pattern), new RegExp(pattern, "u")];
    for (const sample of samples)
      expect([pattern, sample, plain.test(sample)]).toEqual([pattern, sample, unicode.test(sample)]);
  }
});

it("has examples of texts that match its patterns", () => {
  for (const { value, beside } of valuesOf("examples")) {
    const { pattern } = beside as { pattern?: string };
    if (pattern === undefined) continue;
    for (const example of value as string[]) expect(example).toMatch(new RegExp(pattern));
  }
});
