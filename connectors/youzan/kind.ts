/**
 * The kind `youzan`: what a shop on Youzan (有赞) still has to sell, by item and specification, and the lines of paid
 * trades as movements. A snapshot is whole; how its rows come to describe one instant is in shop-stock.ts, how no trade
 * is passed over in trades.ts. It writes nothing at Youzan and takes no push messages. What the public documents leave
 * open is in README.md.
 */

import { type Static, Type } from "typebox";
import { badInput } from "../../engine/kernel/errors.js";
import { secretText } from "../configuration/secret-text.js";
import {
  defineSourceKind,
  type PullRequest,
  type RawRow,
  type Source,
  type SourcePage,
  type SourceParts,
} from "../source.js";
import { YouzanApi } from "./api.js";
import { readShopStock } from "./shop-stock.js";
import { paidLines } from "./trades.js";

const Connection = Type.Object(
  {
    url: Type.String({
      pattern: "^https?://[^\\s/?#]+[^\\s?#]*$",
      maxLength: 500,
      description: "an address such as https://open.youzanyun.com",
    }),
    clientId: Type.String({ minLength: 1, maxLength: 100 }),
    clientSecret: secretText("the application's secret"),
    /** The shop's kdt_id. */
    shop: Type.String({ pattern: "^\\d{1,19}$", description: "the shop's number (kdt_id), as a text" }),
    /** Whether items have specifications: each item is then asked for. Left out: yes. */
    specifications: Type.Optional(Type.Boolean()),
    /** What to do with an item, or a specification, that has no code of the merchant. Left out: a fault. */
    withoutCode: Type.Optional(Type.Enum(["fault", "ignore"])),
    /** Items or trades that are asked for at once. */
    pageRows: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
  },
  { additionalProperties: false },
);
type Settings = Static<typeof Connection>;

const OP = "source.youzan";
/** Youzan's bound for trades; it allows 300 for items. */
const PAGE_ROWS = 100;

export const youzanKind = defineSourceKind({
  name: "youzan",
  about: "a shop on Youzan (有赞)",
  connection: Connection,
  pulls: ["snapshot", "movements"],
  gives: "whole",
  fields: {
    snapshot: { sku: "code", units: "quantity" },
    movements: { sku: "code", units: "units", time: "pay_time", id: "oid" },
  },
  timeFormat: "iso",
  // The account's own limit is not documented.
  perSecond: 5,
  async open(settings, parts) {
    if (!URL.canParse(settings.url)) throw badInput(OP, "/url", "is no address");
    return new YouzanSource(settings, parts);
  },
});

class YouzanSource implements Source {
  readonly #settings: Settings;
  readonly #parts: SourceParts;
  readonly #api: YouzanApi;

  constructor(settings: Settings, parts: SourceParts) {
    this.#settings = settings;
    this.#parts = parts;
    this.#api = new YouzanApi(settings, parts);
  }

  async *pull(request: PullRequest, signal: AbortSignal): AsyncGenerator<SourcePage> {
    const { pageRows = PAGE_ROWS, specifications = true } = this.#settings;
    if (request.kind === "movements") {
      for await (const lines of paidLines(this.#api, request, pageRows, signal)) yield { rows: this.#rawRows(lines) };
      return;
    }
    const { rows, asOfMs } = await readShopStock(this.#api, { pageRows, specifications }, signal);
    const kept = this.#rawRows(rows);
    for (let from = 0; from === 0 || from < kept.length; from += pageRows) {
      signal.throwIfAborted();
      yield { rows: kept.slice(from, from + pageRows), asOfMs, totalRows: kept.length };
    }
  }

  #rawRows(rows: readonly RawRow[]): RawRow[] {
    const { withoutCode = "fault" } = this.#settings;
    const named = rows.map(({ fields, place }) => ({ fields, place: `${this.#parts.name} ${place}` }));
    return withoutCode === "fault" ? named : named.filter(({ fields }) => fields["code"] !== undefined);
  }
}
