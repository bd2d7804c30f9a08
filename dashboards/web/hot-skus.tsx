/**
 * The hot SKUs and their balances (R1), with the units that customers are shown (R5): a table on wide screens, cards on
 * a phone, in the order of the heatmap. A SKU without sellable units is marked "sold out", not only by a zero.
 */
import { useState } from "preact/hooks";
import type { AlertBody } from "../feeds/alerts.js";
import { type HeatModel, type HeatRowModel, rankedRows } from "../feeds/stock-heat/store.js";
import { useFit } from "./fit.js";
import { nameWidth, shortName } from "./format.js";
import { alertedSkus } from "./live-model.js";
import { usePage } from "./page-context.js";

/** Heights in rem, as in styles/hot-skus.css. */
const ROW_REM = 2.9;
const HEAD_REM = 2.25;
/** In Latin letters; a longer name loses its middle. */
const WIDEST_NAME = { wall: 20, desktop: 30, phone: 80 } as const;
const DESKTOP_ROWS = 20;
/** A phone shows these first, so that the heatmap below needs little scrolling. */
const FIRST_CARDS = 6;

const MINOR = ["reserved", "committed", "safety", "presale"] as const;

function Sellable({ row }: { row: HeatRowModel }) {
  const { text, format } = usePage();
  return row.sellable > 0 ? <span>{format.units(row.sellable)}</span> : <span class="sold-out">{text("soldOut")}</span>;
}

function Name({ row, alerted }: { row: HeatRowModel; alerted: boolean }) {
  const { text, layout } = usePage();
  return (
    <>
      <span class="sku" title={row.sku}>
        {shortName(row.sku, WIDEST_NAME[layout])}
      </span>
      {alerted && (
        <i class="row-alert" role="img" aria-label={text("alertMark")}>
          ▲
        </i>
      )}
    </>
  );
}

function Table({
  rows,
  alerted,
  full,
}: {
  rows: readonly HeatRowModel[];
  alerted: ReadonlySet<string>;
  full: boolean;
}) {
  const { text, format } = usePage();
  return (
    <table class="stock" data-full={full ? "" : undefined}>
      <thead>
        <tr>
          <th scope="col">{text("columnSku")}</th>
          <th scope="col" class="major">
            {text("sellable")}
          </th>
          <th scope="col">{text("display")}</th>
          {MINOR.map((account) => (
            <th key={account} scope="col">
              {text(account)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.id} data-testid="sku-row" data-sku={row.sku} data-empty={row.sellable > 0 ? undefined : ""}>
            <th scope="row" data-long={nameWidth(row.sku) > 17 ? "" : undefined}>
              <Name row={row} alerted={alerted.has(row.sku)} />
            </th>
            <td class="major" data-field="sellable">
              <Sellable row={row} />
            </td>
            <td class="second" data-field="display">
              {format.units(row.display)}
            </td>
            {MINOR.map((account) => (
              <td key={account} data-field={account}>
                {format.units(row[account])}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Card({ row, alerted }: { row: HeatRowModel; alerted: boolean }) {
  const { text, format } = usePage();
  const times = format.times(row.hourUnits, row.dailyAverage);
  return (
    <li class="card" data-testid="sku-row" data-sku={row.sku} data-empty={row.sellable > 0 ? undefined : ""}>
      <div class="card-head">
        <b>
          <Name row={row} alerted={alerted} />
        </b>
        <span>
          {text("columnHour")} <strong>{format.units(row.hourUnits)}</strong>
          {times !== undefined && ` · ${times}×`}
        </span>
      </div>
      <dl class="card-major">
        <div data-field="sellable">
          <dt>{text("sellable")}</dt>
          <dd>
            <Sellable row={row} />
          </dd>
        </div>
        <div data-field="display">
          <dt>{text("display")}</dt>
          <dd>{format.units(row.display)}</dd>
        </div>
      </dl>
      <dl class="card-minor">
        {MINOR.map((account) => (
          <div key={account} data-field={account}>
            <dt>{text(account)}</dt>
            <dd>{format.units(row[account])}</dd>
          </div>
        ))}
      </dl>
    </li>
  );
}

export function HotSkus({ model, alerts }: { model: HeatModel; alerts: readonly AlertBody[] }) {
  const { text, format, layout } = usePage();
  const [all, setAll] = useState(false);
  const { box, fit } = useFit<HTMLDivElement>(ROW_REM, HEAD_REM, layout === "wall");
  const rows = rankedRows(model).slice(
    0,
    Math.min(fit, layout === "desktop" ? DESKTOP_ROWS : Number.POSITIVE_INFINITY),
  );
  const alerted = alertedSkus(alerts);
  return (
    <section class="panel hot" aria-labelledby="hot-title">
      <div class="panel-head">
        <h2 id="hot-title">{text("hotSkus")}</h2>
        <span class="panel-note">{text("units")}</span>
      </div>
      <div class="hot-box" ref={box}>
        {rows.length === 0 ? (
          <div class="empty">
            <strong>{text("hotEmpty")}</strong>
          </div>
        ) : layout === "phone" ? (
          <>
            <ul class="cards">
              {(all ? rows : rows.slice(0, FIRST_CARDS)).map((row) => (
                <Card key={row.id} row={row} alerted={alerted.has(row.sku)} />
              ))}
            </ul>
            {rows.length > FIRST_CARDS && (
              <button type="button" class="show-all" aria-expanded={all} onClick={() => setAll(!all)}>
                {all ? text("showFewer") : text("showAll", { number: format.units(rows.length) })}
              </button>
            )}
          </>
        ) : (
          <Table rows={rows} alerted={alerted} full={rows.length === fit} />
        )}
      </div>
    </section>
  );
}
