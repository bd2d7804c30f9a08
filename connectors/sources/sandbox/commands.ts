/**
 * What a person or a demo may order from a sandbox of an outside system over HTTP: an opening balance, a movement, a
 * movement that goes wrong. The sandbox's own addresses and checks are not part of it. Bodies are JSON objects; one
 * that lacks a field changes nothing.
 *
 *   POST /sandbox/stock      {sku, location, units}
 *   POST /sandbox/movements  {id, sku, location, units}
 *   POST /sandbox/drift      {sku, kind: "lose" | "double" | "misplace", location?}: the next movement goes wrong
 */
import type { SandboxAnswer, SandboxRequest } from "./server.js";
import type { Drift, SandboxStock } from "./stock.js";

/** Undefined: the request is none of these. */
export function orderedAnswer(stock: SandboxStock, { method, url, body }: SandboxRequest): SandboxAnswer | undefined {
  const [, order] = /^\/sandbox\/(stock|movements|drift)$/.exec(url.pathname) ?? [];
  if (method !== "POST" || order === undefined) return undefined;
  const given = objectOf(body);
  const { id, sku, location, units, kind } = given;
  const isPlace = isName(sku) && isName(location);
  if (order === "stock" && isPlace && isUnits(units)) stock.set(sku, location, units);
  else if (order === "movements" && isPlace && isUnits(units) && isName(id)) stock.move({ id, sku, location, units });
  else if (order === "drift" && isName(sku) && isDrift(kind, location)) stock.drift(sku, { kind, location } as Drift);
  else return { status: 400, body: "a field is missing or of the wrong type" };
  return { status: 202, body: "done" };
}

function objectOf(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

const isName = (value: unknown): value is string => typeof value === "string" && value !== "";
const isUnits = (value: unknown): value is number => Number.isSafeInteger(value);
const isDrift = (kind: unknown, location: unknown): boolean =>
  kind === "lose" || kind === "double" || (kind === "misplace" && isName(location));
