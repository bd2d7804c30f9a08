/**
 * The panels of the Grafana dashboards: stats, charts and tables with the defaults that all of them share, built with
 * Grafana's library. A panel has a title, one sentence on what it shows and one on what to do, a unit and its queries.
 * Every query reads from the data source, the job and the instances that the reader chooses at the top. No panel uses
 * a plugin beyond those that come with Grafana.
 */
import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import {
  BigValueColorMode,
  BigValueGraphMode,
  type DataSourceRef,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from "@grafana/grafana-foundation-sdk/common";
import {
  FieldColorBuilder,
  FieldColorModeId,
  MappingType,
  type Panel,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  type ValueMapping,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TableBuilder } from "@grafana/grafana-foundation-sdk/table";
import { PanelBuilder as ChartBuilder } from "@grafana/grafana-foundation-sdk/timeseries";

/** The data source that the reader chooses. */
export const SOURCE: DataSourceRef = { type: "prometheus", uid: `\${datasource}` };
/** Labels of every query: the deployment and the processes that the reader chooses. */
export const CHOSEN = 'job="$job",instance=~"$instance"';

/** A query, and the legend of its series; labels in double braces. */
export type Query = readonly [expression: string, legend: string];
/** From a value on, a colour; the first is the colour below all others. */
export type Levels = readonly [below: Colour, ...from: (readonly [value: number, Colour])[]];
export type Colour = "green" | "yellow" | "orange" | "red" | "blue" | "text";

export interface Cell {
  /** Of 24 columns. */
  readonly width: number;
  /** In rows of 30 pixels. */
  readonly height: number;
  readonly panel: Builder<Panel>;
}

interface Common {
  readonly title: string;
  /** What it shows, and what to do about it. */
  readonly about: string;
  /** Grafana's name of a unit. */
  readonly unit?: string;
  readonly decimals?: number;
  readonly width?: number;
  readonly height?: number;
}

export interface StatText extends Common {
  readonly expression: string;
  readonly levels: Levels;
  /** Texts in place of values. */
  readonly texts?: Readonly<Record<number, string>>;
  /** Grafana shows it while there is no value. */
  readonly noValue?: string;
  /** A line of the last hours below the value. */
  readonly hasLine?: boolean;
}

/** One figure of now, large, with the colour of its level. */
export function stat(text: StatText): Cell {
  const { title, about, unit = "short", expression, levels, texts = {}, width = 3, height = 4 } = text;
  const panel = new StatBuilder()
    .title(title)
    .description(about)
    .datasource(SOURCE)
    .unit(unit)
    .withTarget(target(expression, "", "A").instant())
    .thresholds(thresholdsOf(levels))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .colorMode(BigValueColorMode.BackgroundSolid)
    .graphMode(BigValueGraphMode.None)
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(["lastNotNull"]).fields("").values(false))
    .mappings(mappingsOf(texts));
  if (text.decimals !== undefined) panel.decimals(text.decimals);
  if (text.noValue !== undefined) panel.noValue(text.noValue);
  return { width, height, panel };
}

export interface ChartText extends Common {
  readonly queries: readonly Query[];
  /** Dashed lines at the limits. */
  readonly limits?: Levels;
  readonly isStacked?: boolean;
  readonly min?: number;
  readonly max?: number;
}

/** Lines over time, with a table of the last and the greatest values below. */
export function chart(text: ChartText): Cell {
  const { title, about, unit = "short", queries, limits, isStacked = false, width = 8, height = 8 } = text;
  const panel = new ChartBuilder()
    .title(title)
    .description(about)
    .datasource(SOURCE)
    .unit(unit)
    .min(text.min ?? 0)
    .targets(queries.map(([expression, legend], i) => target(expression, legend, refIdOf(i)).range()))
    .lineWidth(1)
    .fillOpacity(isStacked ? 30 : 8)
    .showPoints(VisibilityMode.Never)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassic))
    .legend(
      new VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(LegendDisplayMode.Table)
        .placement(LegendPlacement.Bottom)
        .calcs(["lastNotNull", "max"]),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending));
  if (text.max !== undefined) panel.max(text.max);
  if (text.decimals !== undefined) panel.decimals(text.decimals);
  if (isStacked) panel.stacking(new StackingConfigBuilder().group("A").mode(StackingMode.Normal));
  if (limits)
    panel
      .thresholds(thresholdsOf(limits))
      .thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed));
  return { width, height, panel };
}

export interface TableText extends Common {
  readonly expression: string;
  /** Labels that are shown, with the titles of their columns; the value comes last. */
  readonly columns: Readonly<Record<string, string>>;
  readonly value: string;
}

/** The values of now by labels. */
export function table(text: TableText): Cell {
  const { title, about, unit = "short", expression, columns, value, width = 8, height = 8 } = text;
  const labels = Object.keys(columns);
  const panel = new TableBuilder()
    .title(title)
    .description(about)
    .datasource(SOURCE)
    .unit(unit)
    .noValue("None")
    .withTarget(target(expression, "", "A").instant().format(PromQueryFormat.Table))
    .withTransformation({
      id: "organize",
      options: {
        excludeByName: { Time: true },
        indexByName: Object.fromEntries([...labels, "Value"].map((label, i) => [label, i])),
        renameByName: { ...columns, Value: value },
      },
    });
  return { width, height, panel };
}

const target = (expression: string, legend: string, refId: string): DataqueryBuilder => {
  const query = new DataqueryBuilder().refId(refId).datasource(SOURCE).expr(expression);
  return legend === "" ? query : query.legendFormat(legend);
};

const refIdOf = (i: number): string => String.fromCharCode("A".charCodeAt(0) + i);

const thresholdsOf = ([below, ...from]: Levels) =>
  new ThresholdsConfigBuilder()
    .mode(ThresholdsMode.Absolute)
    .steps([{ value: null, color: below }, ...from.map(([value, color]) => ({ value, color }))]);

const mappingsOf = (texts: Readonly<Record<number, string>>): ValueMapping[] =>
  Object.keys(texts).length === 0
    ? []
    : [
        {
          type: MappingType.ValueToText,
          options: Object.fromEntries(Object.entries(texts).map(([value, text], index) => [value, { text, index }])),
        },
      ];
