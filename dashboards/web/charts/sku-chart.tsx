/**
 * The history of a SKU: what was sold above, what is left below, for the last hour, 24 hours or 30 days. The line above
 * the charts reads the step under the finger or the cursor, otherwise the whole span. Screen readers get a sentence.
 */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { FaultText } from "../desk/panel.js";
import type { PlainKey } from "../dictionary.js";
import { useSize } from "../environment.js";
import { usePage } from "../page-context.js";
import { stockOptions, unitsOptions } from "./chart-options.js";
import { type ChartSeries, chartSeriesOf, SPANS, type SpanName, totalsOf } from "./sku-history.js";
import { useSkuHistory } from "./use-sku-history.js";

const UNITS_HEIGHT = 118;
const STOCK_HEIGHT = 116;

const SPAN_TEXTS: Readonly<Record<SpanName, readonly [label: PlainKey, units: PlainKey]>> = {
  hour: ["chartHour", "chartUnitsMinute"],
  day: ["chartDay", "chartUnitsQuarter"],
  month: ["chartMonth", "chartUnitsDay"],
};

interface SkuChartProps {
  sku: string;
  /** The shop's time. */
  nowMs: number;
  spans?: readonly SpanName[];
}

export function SkuChart({ sku, nowMs, spans = ["hour", "day", "month"] }: SkuChartProps) {
  const { text } = usePage();
  const [span, setSpan] = useState<SpanName>("hour");
  const { answer, error, startMs, endMs } = useSkuHistory(sku, span, nowMs);
  const series = useMemo(
    () => answer && chartSeriesOf(answer, startMs, endMs, SPANS[span].stepMs),
    [answer, startMs, endMs, span],
  );
  const isEmpty = series !== undefined && totalsOf(series).isEmpty;
  return (
    <div class="chart" data-testid="chart" data-span={span} data-loaded={answer !== undefined || null}>
      <fieldset class="chart-spans" aria-label={text("chartTitle")}>
        {spans.map((each) => (
          <button key={each} type="button" aria-pressed={span === each} onClick={() => setSpan(each)}>
            {text(SPAN_TEXTS[each][0])}
          </button>
        ))}
      </fieldset>
      {series !== undefined && !isEmpty ? (
        <Plots series={series} span={span} />
      ) : (
        <p class="chart-empty" role="status">
          {error !== undefined && series === undefined ? (
            <FaultText error={error} />
          ) : (
            text(isEmpty ? "chartEmpty" : "loading")
          )}
        </p>
      )}
    </div>
  );
}

function Plots({ series, span }: { series: ChartSeries; span: SpanName }) {
  const { text, format, theme } = usePage();
  const box = useRef<HTMLDivElement>(null);
  const { width } = useSize(box);
  const [index, setIndex] = useState<number | null>(null);
  const plots = useRef<readonly uPlot[]>([]);
  const newest = useRef(series);
  newest.current = series;
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null || width === 0) return;
    const parts = { width, format, span, syncKey: `sku ${span}`, onCursor: setIndex };
    const { times, units, stock } = newest.current;
    const opened = [
      new uPlot(unitsOptions(parts, UNITS_HEIGHT), [times, units], element),
      new uPlot(stockOptions(parts, STOCK_HEIGHT), [times, stock], element),
    ];
    plots.current = opened;
    return () => {
      plots.current = [];
      for (const plot of opened) plot.destroy();
    };
  }, [width, format, span, theme]);
  useEffect(() => {
    const [above, below] = plots.current;
    above?.setData([series.times, series.units]);
    below?.setData([series.times, series.stock]);
  }, [series]);
  const totals = totalsOf(series);
  const unitsText = (units: number | null | undefined) => (units == null ? text("factNone") : format.units(units));
  const summary = text("chartSummary", {
    span: text(SPAN_TEXTS[span][0]),
    units: format.units(totals.units),
    first: unitsText(totals.first),
    last: unitsText(totals.last),
  });
  const isPointed = index !== null && index < series.times.length;
  const atMs = (series.times[index ?? 0] ?? 0) * 1_000;
  return (
    <>
      <div class="chart-legend" aria-hidden="true">
        <span class="legend-units">
          {text(SPAN_TEXTS[span][1])}
          <b>
            {isPointed ? unitsText(series.units[index]) : text("chartTotal", { units: format.units(totals.units) })}
          </b>
        </span>
        <span class="legend-stock">
          {text("chartStock")}
          <b>{unitsText(isPointed ? series.stock[index] : totals.last)}</b>
        </span>
        <time>{isPointed ? (span === "month" ? format.day(atMs) : format.minute(atMs)) : ""}</time>
      </div>
      <div class="chart-plots" ref={box} role="img" aria-label={summary} />
    </>
  );
}
