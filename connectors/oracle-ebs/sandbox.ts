/**
 * A sandbox of Oracle E-Business Suite's Integrated SOA Gateway with the package that connectors/oracle-ebs/README.md
 * describes: it verifies user, password and the form of a call, gives on-hand quantities as of one instant and
 * transactions by page, throttles, and on command fails, ends half-way, repeats a page, removes its instants, or
 * drifts. It has only the fields that the kind reads. Everything is in memory.
 *
 *   POST /webservices/rest/shuiwei_stock/get_on_hand/       P_ORGANIZATION_CODES, P_LIMIT, P_AS_OF, P_AFTER
 *   POST /webservices/rest/shuiwei_stock/get_transactions/  P_ORGANIZATION_CODES, P_LIMIT, P_FROM, P_TO, P_AFTER
 *   POST /sandbox/…                                         connectors/sources/sandbox/commands.ts
 */
import { type Clock, systemClock } from "../../engine/kernel/clock.js";
import { orderedAnswer } from "../sources/sandbox/commands.js";
import { type SandboxAnswer, type SandboxRequest, SandboxServer } from "../sources/sandbox/server.js";
import { SandboxStock } from "../sources/sandbox/stock.js";

export interface OracleEbsSandboxSettings {
  readonly port?: number;
  readonly perSecond?: number;
  /** The database server's; the real one when left out. */
  readonly clock?: Clock;
  /** See SandboxServer. */
  readonly isDated?: boolean;
}

/** Who may call it, and what is deployed. */
export const ORACLE_EBS_SANDBOX = {
  user: "SHUIWEI",
  password: "sandbox-password",
  service: "shuiwei_stock",
  organizations: ["M1"],
} as const;

interface Fixed {
  readonly asOf: string;
  readonly rows: readonly object[];
}

const OPERATION = /^\/webservices\/rest\/shuiwei_stock\/(get_on_hand|get_transactions)\/$/;
/** Instants that can still be asked for, as the database's undo has them. */
const FIXED_KEPT = 4;
const NIL = { "@xsi:nil": "true" } as const;

const fault = (status: number, code: string, message: string): SandboxAnswer => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ ISGServiceFault: { Code: code, Message: message, Resolution: "N/A" } }),
});

export class OracleEbsSandbox extends SandboxServer {
  readonly stock: SandboxStock;
  #fixed: Fixed[] = [];
  #repeats = 0;

  constructor(settings: OracleEbsSandboxSettings = {}) {
    super(settings);
    this.stock = new SandboxStock(settings.clock ?? systemClock);
  }

  override get url(): string {
    return `${super.url}/webservices/rest`;
  }

  /** As many later pages are given as if they were the first one. */
  repeatPages(times: number): void {
    this.#repeats = times;
  }

  /** The instants that were given can no longer be asked for. */
  removeInstants(): void {
    this.#fixed = [];
  }

  protected override throttled(): SandboxAnswer {
    return { status: 429, headers: { "retry-after": "1" }, body: "too many requests in this second" };
  }

  protected override answer(request: SandboxRequest): SandboxAnswer {
    const ordered = orderedAnswer(this.stock, request);
    if (ordered) return ordered;
    const { user, password } = ORACLE_EBS_SANDBOX;
    const expected = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
    if (request.headers.authorization !== expected)
      return fault(401, "FND_SOA_AUTHENTICATION_FAILURE", "Invalid user name or password");
    const [, operation] = OPERATION.exec(request.url.pathname) ?? [];
    if (operation === undefined || request.method !== "POST")
      return fault(404, "ISG_INVALID_ALIAS", "Service alias or operation is not deployed");
    const given = parametersOf(request.body, `${operation.toUpperCase()}_Input`);
    const limit = Number(given["P_LIMIT"]);
    if (!(limit >= 1 && limit <= 5_000) || !given["P_ORGANIZATION_CODES"])
      return fault(500, "ISG_INVALID_PARAMETERS", "P_LIMIT or P_ORGANIZATION_CODES is missing");
    return operation === "get_on_hand" ? this.#onHand(given, limit) : this.#transactions(given, limit);
  }

  #onHand(given: Record<string, string>, limit: number): SandboxAnswer {
    const wanted = given["P_AS_OF"];
    const fixed = wanted === undefined ? this.#fix() : this.#fixed.find(({ asOf }) => asOf === wanted);
    if (fixed === undefined) return fault(500, "ISG_SERVICE_EXECUTION_ERROR", "ORA-01555: snapshot too old");
    const about = { X_AS_OF: fixed.asOf, X_TOTAL_ROWS: String(fixed.rows.length) };
    return this.#page(fixed.rows, given, limit, about);
  }

  #fix(): Fixed {
    const rows = this.stock.cells.map(({ sku, location, units }) => ({
      ...{ ITEM_NUMBER: sku, ORGANIZATION_CODE: "M1", SUBINVENTORY_CODE: location },
      ...{ QUANTITY: String(units), UOM_CODE: "EA" },
    }));
    const fixed = { asOf: new Date(this.stock.now()).toISOString(), rows };
    this.#fixed = [...this.#fixed, fixed].slice(-FIXED_KEPT);
    return fixed;
  }

  #transactions(given: Record<string, string>, limit: number): SandboxAnswer {
    const [fromMs, toMs] = [Date.parse(given["P_FROM"] ?? ""), Date.parse(given["P_TO"] ?? "")];
    if (Number.isNaN(fromMs) || Number.isNaN(toMs))
      return fault(500, "ISG_INVALID_PARAMETERS", "P_FROM or P_TO is no time");
    const rows = this.stock.movements
      .filter(({ atMs }) => atMs >= fromMs && atMs < toMs)
      .map(({ id, sku, location, units, atMs }) => ({
        ...{ TRANSACTION_ID: id, ITEM_NUMBER: sku, ORGANIZATION_CODE: "M1", SUBINVENTORY_CODE: location },
        ...{ QUANTITY: String(units), UOM_CODE: "EA", CREATION_DATE: new Date(atMs).toISOString() },
      }));
    return this.#page(rows, given, limit, {});
  }

  #page(all: readonly object[], given: Record<string, string>, limit: number, about: object): SandboxAnswer {
    let after = Number(given["P_AFTER"] ?? 0);
    if (after > 0 && this.#repeats > 0) {
      this.#repeats--;
      after = 0;
    }
    const rows = all.slice(after, after + limit);
    const list = rows.length === 0 ? NIL : { X_ROWS_ITEM: rows.length === 1 ? rows[0] : rows };
    const next = after + limit < all.length ? String(after + limit) : NIL;
    const output = { ...about, X_ROWS: list, X_NEXT: next, X_ERROR: NIL };
    const headers = { "content-type": "application/json" };
    return { headers, body: JSON.stringify({ OutputParameters: output }) };
  }
}

function parametersOf(body: string, name: string): Record<string, string> {
  try {
    const call = (JSON.parse(body) as Record<string, { InputParameters?: Record<string, string> } | undefined>)[name];
    return call?.InputParameters ?? {};
  } catch {
    return {};
  }
}
