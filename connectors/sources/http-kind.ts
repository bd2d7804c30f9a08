/**
 * The kind `http`: any system with an HTTP address for its stock, in JSON, NDJSON or CSV, with or without pages. The
 * configuration names the address, who asks, where the rows are and how the next page is found. Guarantee: pages come
 * in order and each once; a page that states something else about the snapshot than the first ends the pull, for the
 * source has changed meanwhile. It does not guess a format or a paging.
 */

import { createHash } from "node:crypto";
import { type Static, Type } from "typebox";
import { badInput, EngineError } from "../../engine/kernel/errors.js";
import { valueAt } from "../configuration/json-places.js";
import { secretText } from "../configuration/secret-text.js";
import {
  defineSourceKind,
  type PullRequest,
  type RawRow,
  type Source,
  type SourceAnswer,
  type SourcePage,
  type SourceParts,
  type SourceRequest,
} from "../source.js";
import { isObject, rowsOf } from "./row-formats.js";

const closed = { additionalProperties: false } as const;
const Url = Type.String({ pattern: "^https?://[^\\s/?#]+\\S*$", maxLength: 2_000, description: "an http(s) address" });
const Text = Type.String({ minLength: 1, maxLength: 200 });
/** A JSON pointer into the answer, or with NDJSON and CSV the name of an answer's header. */
const Where = Type.String({ minLength: 1, maxLength: 200, description: "a JSON pointer, or the name of a header" });

const Connection = Type.Object(
  {
    url: Url,
    format: Type.Enum(["json", "ndjson", "csv"]),
    /** Of JSON: where the list of rows is. */
    rows: Type.Optional(Type.String({ pattern: "^(/.*)?$", maxLength: 200, description: "a JSON pointer" })),
    headers: Type.Optional(Type.Record(Type.String(), Text, { maxProperties: 32 })),
    auth: Type.Optional(
      Type.Object(
        {
          bearer: Type.Optional(secretText("a token")),
          basic: Type.Optional(Type.Object({ user: Text, password: secretText("a password") }, closed)),
          header: Type.Optional(Type.Object({ name: Text, value: secretText("the header's value") }, closed)),
        },
        { ...closed, minProperties: 1, maxProperties: 1, description: 'one of "bearer", "basic" and "header"' },
      ),
    ),
    paging: Type.Optional(
      Type.Object(
        {
          page: Type.Optional(
            Type.Object(
              {
                parameter: Text,
                first: Type.Optional(Type.Integer({ minimum: 0, maximum: 1 })),
                sizeParameter: Type.Optional(Text),
                size: Type.Integer({ minimum: 1, maximum: 5_000 }),
              },
              closed,
            ),
          ),
          cursor: Type.Optional(Type.Object({ parameter: Text, next: Where }, closed)),
          link: Type.Optional(Type.Object({}, closed)),
        },
        { ...closed, minProperties: 1, maxProperties: 1, description: 'one of "page", "cursor" and "link"' },
      ),
    ),
    asOf: Type.Optional(Where),
    id: Type.Optional(Where),
    totalRows: Type.Optional(Where),
    movements: Type.Optional(
      Type.Object({ url: Url, fromParameter: Text, toParameter: Text }, { ...closed, description: "an address" }),
    ),
  },
  closed,
);
type Settings = Static<typeof Connection>;

/** 5 million rows of 500 a page. */
const MAX_PAGES = 10_000;
const OP = "source.http";

export const httpKind = defineSourceKind({
  name: "http",
  about: "any system with an HTTP address for its stock: JSON, NDJSON or CSV",
  connection: Connection,
  pulls: ["snapshot", "movements"],
  gives: "whole",
  perSecond: 5,
  async open(settings, parts) {
    const { format, rows, paging, movements } = settings;
    if (format === "json" && rows === undefined)
      throw badInput(OP, "/rows", "is missing; JSON needs the place of rows");
    if (format !== "json" && rows !== undefined) throw badInput(OP, "/rows", `has no meaning with ${format}`);
    const isJson = format === "json";
    const places = { asOf: settings.asOf, id: settings.id, totalRows: settings.totalRows };
    for (const [name, where] of Object.entries({ ...places, "paging/cursor/next": paging?.cursor?.next }))
      if (where !== undefined && where.startsWith("/") !== isJson)
        throw badInput(
          OP,
          `/${name}`,
          isJson ? "must be a JSON pointer" : `must be the name of a header with ${format}`,
        );
    for (const [place, url] of [
      ["/url", settings.url],
      ["/movements/url", movements?.url],
    ] as const) {
      if (url === undefined) continue;
      if (!URL.canParse(url)) throw badInput(OP, place, "is no address");
      const { username, password } = new URL(url);
      // They would not be sent, and a configuration has no secrets.
      if (username || password) throw badInput(OP, place, 'has a user or password; "auth" has the place for them');
    }
    return new HttpSource(settings, parts);
  },
});

/** An answer's rows, and what else it states. */
interface Answer {
  readonly headers: SourceAnswer["headers"];
  /** Of JSON. */
  readonly document?: unknown;
  readonly pages: AsyncIterable<readonly RawRow[]>;
}

class HttpSource implements Source {
  readonly #settings: Settings;
  readonly #parts: SourceParts;

  constructor(settings: Settings, parts: SourceParts) {
    this.#settings = settings;
    this.#parts = parts;
  }

  async *pull(request: PullRequest, signal: AbortSignal): AsyncGenerator<SourcePage> {
    const seen = new Set<string>();
    const isNumbered = this.#settings.paging?.page !== undefined;
    let about: Pick<SourcePage, "id" | "asOfMs" | "totalRows"> = {};
    let before: string | undefined;
    for (let url: string | undefined = this.#firstUrl(request), page = 1; url !== undefined; page++) {
      if (seen.has(url)) throw this.#failed("bad_paging", `page ${page} has the address of an earlier page`);
      if (page > MAX_PAGES) throw this.#failed("bad_paging", `there are more than ${MAX_PAGES} pages`);
      seen.add(url);
      const answer = await this.#ask(url, page, signal);
      const stated = request.kind === "snapshot" ? this.#about(answer, page) : {};
      if (page === 1) about = stated;
      this.#assertSame(about, stated, page);
      let count = 0;
      const content = createHash("sha256");
      for await (const rows of answer.pages) {
        count += rows.length;
        if (isNumbered) for (const { fields } of rows) content.update(JSON.stringify(fields));
        yield { rows, ...about };
      }
      const digest = content.digest("hex");
      // The source ignores the number, or gives the last page for all numbers beyond it.
      if (isNumbered && count > 0 && digest === before)
        throw this.#failed("bad_paging", `page ${page} has the same rows as the page before`);
      before = digest;
      if (count === 0 && page === 1) yield { rows: [], ...about };
      url = this.#nextUrl(url, answer, count, page);
    }
  }

  #firstUrl(request: PullRequest): string {
    const { url, paging, movements } = this.#settings;
    const first = new URL(request.kind === "snapshot" || movements === undefined ? url : movements.url);
    if (request.kind === "movements") {
      if (movements === undefined) throw badInput(OP, "/connection/movements", "is missing; it has their address");
      first.searchParams.set(movements.fromParameter, new Date(request.fromMs).toISOString());
      first.searchParams.set(movements.toParameter, new Date(request.toMs).toISOString());
    }
    if (paging?.page) {
      const { parameter, first: number = 1, sizeParameter, size } = paging.page;
      first.searchParams.set(parameter, String(number));
      if (sizeParameter !== undefined) first.searchParams.set(sizeParameter, String(size));
    }
    return first.href;
  }

  #nextUrl(url: string, { headers, document }: Answer, rows: number, page: number): string | undefined {
    const { paging } = this.#settings;
    if (paging === undefined) return undefined;
    const next = new URL(url);
    if (paging.page) {
      const { parameter, size } = paging.page;
      // A short page is the last one; after a full one there may be an empty one.
      if (rows < size) return undefined;
      next.searchParams.set(parameter, String(Number(next.searchParams.get(parameter)) + 1));
      return next.href;
    }
    if (paging.cursor) {
      const cursor = this.#stated(paging.cursor.next, headers, document, page);
      if (cursor === undefined) return undefined;
      next.searchParams.set(paging.cursor.parameter, String(cursor));
      return next.href;
    }
    const link = nextLink(headers["link"]);
    if (link === undefined) return undefined;
    if (!URL.canParse(link, url)) throw this.#failed("bad_paging", `page ${page}: the Link header has no address`);
    const target = new URL(link, url);
    // The secret goes only where the configuration sends it.
    if (target.origin !== next.origin) throw this.#failed("bad_paging", `the next page is at ${target.origin}`);
    return target.href;
  }

  async #ask(url: string, page: number, signal: AbortSignal): Promise<Answer> {
    const { client, name } = this.#parts;
    const { format, rows } = this.#settings;
    const request = (): SourceRequest => ({ url, headers: this.#headers() });
    const place = `${name} page ${page}`;
    if (format !== "json") {
      const { headers, body } = await client.stream(request, signal);
      return { headers, pages: rowsOf(format, body, place) };
    }
    const document = await client.json(request, signal);
    const list = valueAt(document, rows as string);
    if (!Array.isArray(list)) throw this.#failed("bad_answer", `page ${page} has no list at ${rows || "its root"}`);
    const stray = list.findIndex((row) => !isObject(row));
    if (stray >= 0) throw this.#failed("bad_answer", `page ${page} row ${stray + 1} is no object`);
    const raw = list.map((fields, i): RawRow => ({ fields, place: `${place} row ${i + 1}` }));
    return { headers: {}, document, pages: piecesOf(raw) };
  }

  #headers(): Record<string, string> {
    const { headers, auth, format } = this.#settings;
    const accept = { json: "application/json", ndjson: "application/x-ndjson", csv: "text/csv" }[format];
    const named = Object.fromEntries(Object.entries(headers ?? {}).map(([name, text]) => [name.toLowerCase(), text]));
    const all: Record<string, string> = { accept, ...named };
    if (auth?.bearer !== undefined) all["authorization"] = `Bearer ${auth.bearer}`;
    if (auth?.basic)
      all["authorization"] = `Basic ${Buffer.from(`${auth.basic.user}:${auth.basic.password}`).toString("base64")}`;
    if (auth?.header) all[auth.header.name.toLowerCase()] = auth.header.value;
    return all;
  }

  #about({ headers, document }: Answer, page: number): Pick<SourcePage, "id" | "asOfMs" | "totalRows"> {
    const { asOf, id, totalRows } = this.#settings;
    const read = (where: string | undefined): string | number | undefined =>
      where === undefined ? undefined : this.#stated(where, headers, document, page);
    const place = `${this.#parts.name} page ${page}`;
    const given = { asOf: read(asOf), id: read(id), totalRows: read(totalRows) };
    const rows = given.totalRows === undefined ? undefined : Number(given.totalRows);
    if (rows !== undefined && !(Number.isSafeInteger(rows) && rows >= 0))
      throw this.#failed("bad_answer", `page ${page}: the number of rows is ${String(given.totalRows)}`);
    return {
      ...(given.asOf === undefined ? {} : { asOfMs: this.#parts.timeMs(given.asOf, `${place} ${asOf}`) }),
      ...(given.id === undefined ? {} : { id: String(given.id) }),
      ...(rows === undefined ? {} : { totalRows: rows }),
    };
  }

  /** A text or number at a place of the answer; undefined when it is missing, null, empty, or false. */
  #stated(
    where: string,
    headers: SourceAnswer["headers"],
    document: unknown,
    page: number,
  ): string | number | undefined {
    const value = where.startsWith("/") ? valueAt(document, where) : headers[where.toLowerCase()];
    if (value === undefined || value === null || value === "" || value === false) return undefined;
    if (typeof value === "string" || typeof value === "number") return value;
    throw this.#failed("bad_answer", `page ${page}: ${where} is no text and no number`);
  }

  #assertSame(first: Record<string, unknown>, stated: Record<string, unknown>, page: number): void {
    for (const [name, value] of Object.entries(stated))
      if (first[name] !== value)
        throw this.#failed(
          "changed_meanwhile",
          `page ${page} states another ${name} than page 1: the stock has changed while it was read`,
        );
  }

  #failed(code: string, message: string): EngineError {
    const { name } = this.#parts;
    return new EngineError(`${name}: ${message}`, { op: OP, code, retryable: true, input: name });
  }
}

/** The address of `rel="next"` in a Link header (RFC 8288). */
function nextLink(header: string | undefined): string | undefined {
  for (const link of (header ?? "").split(/,\s*(?=<)/)) {
    const [, target, parameters = ""] = /^<([^>]*)>(.*)$/.exec(link.trim()) ?? [];
    if (/;\s*rel="?([^"]*\s)?next(\s[^"]*)?"?\s*(;|$)/i.test(parameters)) return target;
  }
  return undefined;
}

/** Rows that a page may have. */
const PIECE_ROWS = 5_000;

async function* piecesOf(rows: readonly RawRow[]): AsyncGenerator<readonly RawRow[]> {
  for (let from = 0; from < rows.length; from += PIECE_ROWS) yield rows.slice(from, from + PIECE_ROWS);
}
