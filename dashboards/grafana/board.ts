/**
 * A Grafana dashboard from rows of panels: variables, links between the dashboards, and places on the grid of 24
 * columns. Panels keep their ids when a row gets another panel at its end, so links to a panel stay valid. The result
 * is Grafana's classic JSON, which a provider reads without edits.
 */
import {
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  type Panel,
  QueryVariableBuilder,
  RowBuilder,
  type RowPanel,
  VariableRefresh,
  VariableSort,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { type Cell, SOURCE } from "./panels.js";

export interface BoardRow {
  readonly title: string;
  readonly cells: readonly Cell[];
}

export interface Board {
  /** Also the name of its file; never changed, because links contain it. */
  readonly uid: string;
  readonly title: string;
  readonly about: string;
  readonly rows: readonly BoardRow[];
}

const COLUMNS = 24;
/** Ids of a row's panels follow the row's: room for so many. */
const IDS_A_ROW = 100;
const TAG = "shuiwei";

export function dashboardOf({ uid, title, about, rows }: Board): Dashboard {
  const dashboard = new DashboardBuilder(title)
    .uid(uid)
    .description(about)
    .tags([TAG])
    .timezone("browser")
    .tooltip(DashboardCursorSync.Crosshair)
    .time({ from: "now-1h", to: "now" })
    .refresh("10s")
    .link(
      new DashboardLinkBuilder("Shuiwei")
        .type(DashboardLinkType.Dashboards)
        .tags([TAG])
        .includeVars(true)
        .keepTime(true),
    )
    .withVariable(new DatasourceVariableBuilder("datasource").label("Data source").type("prometheus"))
    .withVariable(valuesOf("job", "Deployment", "label_values(shuiwei_up_seconds, job)"))
    .withVariable(
      valuesOf("instance", "Process", 'label_values(shuiwei_up_seconds{job="$job"}, instance)')
        .multi(true)
        .includeAll(true)
        .allValue(".*")
        .current({ selected: true, text: "All", value: "$__all" }),
    )
    .build();
  dashboard.panels = placed(rows);
  return dashboard;
}

const valuesOf = (name: string, label: string, query: string): QueryVariableBuilder =>
  new QueryVariableBuilder(name)
    .label(label)
    .datasource(SOURCE)
    .query({ query, refId: `variable-${name}` })
    .definition(query)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc);

/** Rows and panels at their places, from left to right and from top to bottom. */
function placed(rows: readonly BoardRow[]): (Panel | RowPanel)[] {
  let top = 0;
  return rows.flatMap(({ title, cells }, i) => {
    const id = (i + 1) * IDS_A_ROW;
    const row = new RowBuilder(title).id(id).gridPos({ x: 0, y: top, w: COLUMNS, h: 1 }).build();
    top++;
    let left = 0;
    let height = 0;
    const panels = cells.map((cell, j): Panel => {
      if (left + cell.width > COLUMNS) {
        top += height;
        left = 0;
        height = 0;
      }
      const panel = cell.panel.build();
      const place = { x: left, y: top, w: cell.width, h: cell.height };
      left += cell.width;
      height = Math.max(height, cell.height);
      return { ...panel, id: id + 1 + j, gridPos: place };
    });
    top += height;
    return [row, ...panels];
  });
}
