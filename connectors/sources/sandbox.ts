/**
 * A sandbox of any system that reports stock over HTTP, such as an ERP or a storefront: for tests, the demo, and trying
 * a configuration of the kind `http`. A snapshot is fixed when its first page is asked for, so its pages fit together.
 * It checks the bearer token, throttles, and on command fails, ends half-way or drifts. It keeps everything in memory.
 *
 *   GET /stock              NDJSON: {sku, location, units}; headers x-as-of, x-snapshot-id, x-total-rows, and link
 *   GET /stock.json         {asOf, id, totalRows, items: […], next}; next goes into ?cursor=
 *   GET /stock.csv          as /stock, in CSV
 *   GET /movements?from&to  NDJSON: {id, sku, location, units, time}
 *   POST /drift             {sku, kind: "lose" | "double" | "misplace", location?}: the next movement goes wrong
 *   POST /movements         {id, sku, location, units}: books one
 */
import { type Clock, systemClock } from "../../engine/kernel/clock.js";
import { type SandboxAnswer, type SandboxRequest, SandboxServer } from "./sandbox/server.js";
import { type Drift, type SandboxCell, type SandboxMovement, SandboxStock } from "./sandbox/stock.js";

export interface SourceSandboxSettings {
  readonly port?: number;
  /** Left out: no token is asked for. */
  readonly token?: string;
  readonly perSecond?: number;
  readonly pageRows?: number;
  /** The outside system's clock, for what it states; the real one when left out. */
  readonly clock?: Clock;
  /** See SandboxServer. */
  readonly isDated?: boolean;
}

interface Fixed {
  readonly id: string;
  readonly asOfMs: number;
  readonly cells: readonly SandboxCell[];
}

const PAGE_ROWS = 500;
/** Snapshots whose later pages can still be asked for. */
const FIXED_KEPT = 4;

export class SourceSandbox extends SandboxServer {
  readonly stock: SandboxStock;
  readonly #settings: SourceSandboxSettings;
  #fixed: Fixed[] = [];
  #snapshots = 0;

  constructor(settings: SourceSandboxSettings = {}) {
    super(settings);
    const { clock = systemClock } = settings;
    this.#settings = settings;
    this.stock = new SandboxStock(clock);
  }

  protected override throttled(): SandboxAnswer {
    return { status: 429, headers: { "retry-after": "1" }, body: "too many requests in this second" };
  }

  protected override answer({ method, url, headers, body }: SandboxRequest): SandboxAnswer {
    const { token } = this.#settings;
    if (token !== undefined && headers.authorization !== `Bearer ${token}`)
      return { status: 401, body: "the bearer token is wrong" };
    const { pathname, searchParams } = url;
    if (method === "POST") return this.#command(pathname, body);
    if (pathname === "/movements") return this.#movements(searchParams);
    if (!/^\/stock(\.json|\.csv)?$/.test(pathname)) return { status: 404, body: "nothing here" };
    const [id, number] = (searchParams.get("cursor") ?? "").split("/");
    const fixed = id ? this.#fixed.find((each) => each.id === id) : this.#fix();
    if (fixed === undefined) return { status: 410, body: "this snapshot is gone; begin again" };
    return this.#page(pathname, fixed, Number(number ?? 0));
  }

  #page(pathname: string, { id, asOfMs, cells }: Fixed, number: number): SandboxAnswer {
    const { pageRows = PAGE_ROWS } = this.#settings;
    const rows = cells.slice(number * pageRows, (number + 1) * pageRows);
    const isLast = (number + 1) * pageRows >= cells.length;
    const next = isLast ? undefined : `${id}/${number + 1}`;
    const asOf = new Date(asOfMs).toISOString();
    if (pathname === "/stock.json") {
      const items = rows.map(({ sku, location, units }) => ({ sku, location, units }));
      const text = JSON.stringify({ asOf, id, totalRows: cells.length, items, next: next ?? null });
      return { headers: { "content-type": "application/json" }, body: text };
    }
    const headers = {
      "x-as-of": asOf,
      "x-snapshot-id": id,
      "x-total-rows": String(cells.length),
      ...(next === undefined ? {} : { link: `<${pathname}?cursor=${encodeURIComponent(next)}>; rel="next"` }),
    };
    if (pathname === "/stock.csv") {
      const lines = rows.map(({ sku, location, units }) => `${sku},${location},${units}\n`);
      return { headers: { ...headers, "content-type": "text/csv" }, body: `sku,location,units\n${lines.join("")}` };
    }
    const lines = rows.map(({ sku, location, units }) => `${JSON.stringify({ sku, location, units })}\n`);
    return { headers: { ...headers, "content-type": "application/x-ndjson" }, body: lines.join("") };
  }

  #fix(): Fixed {
    const fixed = {
      id: `s${++this.#snapshots}-${this.stock.now()}`,
      asOfMs: this.stock.now(),
      cells: this.stock.cells,
    };
    this.#fixed = [...this.#fixed, fixed].slice(-FIXED_KEPT);
    return fixed;
  }

  #movements(query: URLSearchParams): SandboxAnswer {
    const [fromMs, toMs] = [Date.parse(query.get("from") ?? ""), Date.parse(query.get("to") ?? "")];
    const lines = this.stock.movements
      .filter(({ atMs }) => atMs >= fromMs && atMs < toMs)
      .map(({ atMs, ...rest }) => `${JSON.stringify({ ...rest, time: new Date(atMs).toISOString() })}\n`);
    return { headers: { "content-type": "application/x-ndjson" }, body: lines.join("") };
  }

  #command(pathname: string, body: string): SandboxAnswer {
    const given = parsed(body);
    if (given === undefined) return { status: 400, body: "the body is no JSON object" };
    if (pathname === "/drift") {
      const { sku, ...drift } = given as { sku: string } & Drift;
      this.stock.drift(sku, drift);
      return { status: 202, body: "the next movement goes wrong" };
    }
    if (pathname !== "/movements") return { status: 404, body: "nothing here" };
    this.stock.move(given as SandboxMovement);
    return { status: 201, body: "booked" };
  }
}

function parsed(body: string): unknown {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
