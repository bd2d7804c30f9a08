/**
 * The kind `oracle-ebs`: on-hand quantities and material transactions of Oracle E-Business Suite over the REST services
 * of its Integrated SOA Gateway. E-Business Suite has no service of its own that lists all on-hand quantities, so a
 * PL/SQL package publishes two (README.md has their parameters). All pages of a snapshot describe one instant, which
 * the first page states and the later ones are asked for. It needs no Oracle client library and writes nothing.
 */

import { type Static, Type } from "typebox";
import { badInput, EngineError } from "../../engine/kernel/errors.js";
import { secretText } from "../configuration/secret-text.js";
import {
  defineSourceKind,
  type PullRequest,
  type RawRow,
  type Refusal,
  type Source,
  type SourcePage,
  type SourceParts,
  type SourceRequest,
} from "../source.js";

const closed = { additionalProperties: false } as const;
const Text = Type.String({ minLength: 1, maxLength: 100 });
/** As the Integration Repository names aliases and PL/SQL names operations. */
const Name = Type.String({ pattern: "^[A-Za-z][A-Za-z0-9_]{0,99}$", description: "letters, digits and underscores" });

const Connection = Type.Object(
  {
    url: Type.String({
      pattern: "^https?://[^\\s/?#]+[^\\s?#]*$",
      maxLength: 500,
      description: "an address such as https://ebs.example:4443/webservices/rest",
    }),
    user: Text,
    password: secretText("the user's password"),
    /** The alias under which the package is deployed. */
    service: Name,
    /** Its operations, when they have other names. */
    operations: Type.Optional(Type.Object({ onHand: Type.Optional(Name), transactions: Type.Optional(Name) }, closed)),
    /** Codes of inventory organizations. */
    organizations: Type.Array(
      Type.String({ pattern: "^[A-Za-z0-9_-]{1,10}$", description: "an organization's code" }),
      {
        minItems: 1,
        maxItems: 100,
        uniqueItems: true,
      },
    ),
    /** The applications context of the call. */
    context: Type.Optional(
      Type.Object(
        {
          responsibility: Text,
          application: Text,
          securityGroup: Type.Optional(Text),
          language: Type.Optional(Text),
          orgId: Type.Optional(Text),
        },
        closed,
      ),
    ),
    /** Rows that are asked for at once. */
    pageRows: Type.Optional(Type.Integer({ minimum: 1, maximum: 5_000 })),
  },
  closed,
);
type Settings = Static<typeof Connection>;
type Row = Record<string, unknown>;

const OP = "source.oracle-ebs";
const PAGE_ROWS = 2_000;
/** 5 million rows of 500. */
const MAX_PAGES = 10_000;
/** Faults of the gateway and of PL/SQL calls that another attempt does not change. */
const FOR_GOOD = /^(FND_SOA_AUTHENTICATION_FAILURE|ISG_SERVICE_AUTH_FAILURE|ISG_(INVALID|DUPLICATE|MISSING)_\w+)$/;
const TEXT_LENGTH = 200;

export const oracleEbsKind = defineSourceKind({
  name: "oracle-ebs",
  about: "Oracle E-Business Suite, over the REST services of its Integrated SOA Gateway",
  connection: Connection,
  pulls: ["snapshot", "movements"],
  gives: "whole",
  fields: {
    snapshot: { sku: "ITEM_NUMBER", location: "LOCATION", units: "QUANTITY", unit: "UOM_CODE" },
    movements: {
      ...{ sku: "ITEM_NUMBER", location: "LOCATION", units: "QUANTITY", unit: "UOM_CODE" },
      ...{ time: "CREATION_DATE", id: "TRANSACTION_ID" },
    },
  },
  timeFormat: "iso",
  // Its servers also work for people; a page of 2,000 rows takes about a second.
  perSecond: 2,
  async open(settings, parts) {
    if (!URL.canParse(settings.url)) throw badInput(OP, "/url", "is no address");
    return new OracleEbsSource(settings, parts);
  },
});

class OracleEbsSource implements Source {
  readonly #settings: Settings;
  readonly #parts: SourceParts;

  constructor(settings: Settings, parts: SourceParts) {
    this.#settings = settings;
    this.#parts = parts;
  }

  async *pull(request: PullRequest, signal: AbortSignal): AsyncGenerator<SourcePage> {
    const { organizations, operations, pageRows = PAGE_ROWS } = this.#settings;
    const isSnapshot = request.kind === "snapshot";
    const operation = isSnapshot
      ? (operations?.onHand ?? "get_on_hand")
      : (operations?.transactions ?? "get_transactions");
    const span = isSnapshot ? {} : { P_FROM: isoOf(request.fromMs), P_TO: isoOf(request.toMs) };
    const always = { P_ORGANIZATION_CODES: organizations.join(","), P_LIMIT: String(pageRows), ...span };
    const seen = new Set<string>();
    let begun: Record<string, string> = {};
    for (let page = 1; page <= MAX_PAGES; page++) {
      const answer = await this.#ask(operation, { ...always, ...begun }, signal);
      const rows = this.#rowsOf(answer, page);
      const asOf = textOf(answer["X_AS_OF"]);
      if (isSnapshot && asOf === undefined) throw this.#failed(`page ${page} lacks X_AS_OF`);
      const next = textOf(answer["X_NEXT"]);
      // Asked for the rows after one place, it must not begin before it.
      if (next !== undefined && seen.has(next)) throw this.#failed(`page ${page} comes twice`);
      if (next !== undefined) seen.add(next);
      yield { rows, ...(isSnapshot ? this.#about(answer, asOf as string, page) : {}) };
      if (next === undefined) return;
      begun = { P_AFTER: next, ...(isSnapshot ? { P_AS_OF: asOf as string } : {}) };
    }
    throw this.#failed(`gives more than ${MAX_PAGES} pages`);
  }

  #about(answer: Row, asOf: string, page: number): Pick<SourcePage, "asOfMs" | "totalRows"> {
    const { name, timeMs } = this.#parts;
    const asOfMs = timeMs(asOf, `${name} page ${page} X_AS_OF`);
    const total = textOf(answer["X_TOTAL_ROWS"]);
    if (total === undefined) return { asOfMs };
    if (!/^\d{1,9}$/.test(total)) throw this.#failed(`page ${page}: X_TOTAL_ROWS is ${total.slice(0, TEXT_LENGTH)}`);
    return { asOfMs, totalRows: Number(total) };
  }

  #rowsOf(answer: Row, page: number): RawRow[] {
    const list = present(answer["X_ROWS"]) as Row | undefined;
    const items = list === undefined ? undefined : present(list["X_ROWS_ITEM"]);
    // A list of one row comes as that row.
    const rows = items === undefined ? [] : Array.isArray(items) ? items : [items];
    return rows.map((row: unknown, i) => {
      const place = `${this.#parts.name} page ${page} row ${i + 1}`;
      if (typeof row !== "object" || row === null) throw this.#failed(`${place} is no object`);
      const fields = Object.fromEntries(Object.entries(row).filter(([, value]) => present(value) !== undefined)) as Row;
      const { ORGANIZATION_CODE: organization, SUBINVENTORY_CODE: subinventory } = fields;
      // Codes of subinventories are unique in their organization only.
      const isPlaced = organization !== undefined && subinventory !== undefined;
      return { place, fields: isPlaced ? { ...fields, LOCATION: `${organization}/${subinventory}` } : fields };
    });
  }

  async #ask(operation: string, parameters: Record<string, string>, signal: AbortSignal): Promise<Row> {
    const answer = (await this.#parts.client.json(
      () => this.#request(operation, parameters),
      signal,
      refusalOf,
    )) as Row;
    const output = answer["OutputParameters"];
    if (typeof output !== "object" || output === null) throw this.#failed("the answer has no OutputParameters");
    return output as Row;
  }

  #request(operation: string, parameters: Record<string, string>): SourceRequest {
    const { url, user, password, service, context } = this.#settings;
    const header = context && {
      RESTHeader: {
        Responsibility: context.responsibility,
        RespApplication: context.application,
        SecurityGroup: context.securityGroup ?? "STANDARD",
        NLSLanguage: context.language ?? "AMERICAN",
        ...(context.orgId === undefined ? {} : { Org_Id: context.orgId }),
      },
    };
    const body = { [`${operation.toUpperCase()}_Input`]: { ...header, InputParameters: parameters } };
    return {
      method: "POST",
      url: `${url.replace(/\/+$/, "")}/${service}/${operation}/`,
      headers: {
        authorization: `Basic ${Buffer.from(`${user}:${password}`, "utf8").toString("base64")}`,
        "content-type": "application/json",
        accept: "application/json",
      },
      body: JSON.stringify(body),
    };
  }

  #failed(message: string): EngineError {
    const { name } = this.#parts;
    return new EngineError(`${name}: ${message}`, { op: OP, code: "bad_answer", retryable: true, input: name });
  }
}

/** Null comes as a null, an empty text or an object with the attribute `nil`. */
function present(value: unknown): unknown {
  if (value === undefined || value === null || value === "") return undefined;
  const isNil = typeof value === "object" && Object.keys(value).some((name) => /^@(\w+:)?nil$/.test(name));
  return isNil ? undefined : value;
}

function textOf(value: unknown): string | undefined {
  const given = present(value);
  return typeof given === "string" || typeof given === "number" ? String(given) : undefined;
}

const isoOf = (ms: number): string => new Date(ms).toISOString();

/** A fault of the gateway, or an error that the package reports. */
function refusalOf(body: unknown, status: number): Refusal | undefined {
  const { ISGServiceFault: fault, OutputParameters: output } = (body ?? {}) as Record<string, Row | undefined>;
  if (fault) {
    const code = String(fault["Code"] ?? status);
    const reason = `${code}: ${String(fault["Message"] ?? "")}`.slice(0, TEXT_LENGTH);
    return { reason, again: FOR_GOOD.test(code) || status === 401 || status === 403 ? "final" : "later" };
  }
  const failure = output && textOf(output["X_ERROR"]);
  return failure === undefined ? undefined : { reason: failure.slice(0, TEXT_LENGTH), again: "later" };
}
