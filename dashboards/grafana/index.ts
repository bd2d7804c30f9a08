/**
 * Every file that is generated: the dashboards, the rules for Prometheus and the runbook.
 * `test/dashboards/grafana.test.ts` compares the files of this folder with it; `npm run dashboards` writes them.
 */
import { type Board, dashboardOf } from "./board.js";
import { ENGINE_INTERNALS } from "./engine-internals.js";
import { ORDERS_AND_WMS } from "./orders-and-wms.js";
import { OVERVIEW } from "./overview.js";
import { alertingRules, recordingRules, runbook } from "./rule-files.js";
import { STOCK_AND_ALERTS } from "./stock-and-alerts.js";

const BOARDS: readonly Board[] = [OVERVIEW, STOCK_AND_ALERTS, ORDERS_AND_WMS, ENGINE_INTERNALS];

/** Texts of the generated files, by their names in this folder. */
export const generatedFiles = (): ReadonlyMap<string, string> =>
  new Map([
    ...BOARDS.map((board): [string, string] => [
      `${fileName(board)}.json`,
      `${JSON.stringify(dashboardOf(board), null, 2)}\n`,
    ]),
    ["rules/recorded.yml", recordingRules()],
    ["rules/alerts.yml", alertingRules()],
    ["README.md", runbook()],
  ]);

const fileName = ({ uid }: Board): string => uid.replace(/^shuiwei-/, "");
