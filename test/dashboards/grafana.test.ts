/**
 * The generated files of dashboards/grafana: they are what the code makes (`npm run dashboards` writes
 * them), and Grafana's grid, ids and references hold in each.
 */
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { generatedFiles } from "../../dashboards/grafana/index.js";

const FOLDER = fileURLToPath(new URL("../../dashboards/grafana/", import.meta.url));
const files = generatedFiles();

it.each([...files.keys()])("%s is what the code makes", async (name) => {
  await expect(files.get(name)).toMatchFileSnapshot(`${FOLDER}${name}`);
});

interface Place {
  x: number;
  y: number;
  w: number;
  h: number;
}
interface AnyPanel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: Place;
  datasource?: { uid: string };
  targets?: { refId: string; expr: string; datasource: { uid: string } }[];
}
const boards = [...files]
  .filter(([name]) => name.endsWith(".json"))
  .map(([name, text]) => ({
    name,
    ...(JSON.parse(text) as { uid: string; schemaVersion: number; panels: AnyPanel[] }),
  }));

const overlap = (a: Place, b: Place): boolean =>
  a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

it.each(boards)("$name: panels lie on the grid without overlaps", ({ panels }) => {
  for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
  panels.forEach((a, i) => {
    for (const b of panels.slice(i + 1))
      expect([a.title, b.title, overlap(a.gridPos, b.gridPos)]).toEqual([a.title, b.title, false]);
  });
});

it.each(boards)("$name: each panel has an id, a description and queries of the chosen data source", ({ panels }) => {
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  for (const panel of panels.filter(({ type }) => type !== "row")) {
    expect(panel.description, panel.title).toMatch(/^[A-Z].*\.$/);
    expect(panel.targets?.length, panel.title).toBeGreaterThan(0);
    expect(new Set(panel.targets?.map(({ refId }) => refId)).size).toBe(panel.targets?.length);
    for (const { datasource, expr } of panel.targets ?? []) {
      expect(datasource.uid).toBe(`\${datasource}`);
      expect(expr, panel.title).toMatch(/job="\$job",instance=~"\$instance"/);
    }
  }
});

/** Every process reports these of all partitions, so a sum over processes counts each of them several times. */
const REPORTED_ALIKE =
  /shuiwei_partition_(?:offset|watermark_seconds|lag_\w+|commit_age_seconds|lease_changes_total|dead_letters)\{/g;

it.each(boards)("$name: what every process reports alike is combined by max", ({ panels }) => {
  for (const { title, targets = [] } of panels)
    for (const { expr } of targets)
      for (const { index } of expr.matchAll(REPORTED_ALIKE))
        expect(expr.slice(0, index), `${title}: ${expr}`).toMatch(/max( by \([\w, ]+\))? \((increase\()?$/);
});

it("every dashboard has a uid of its own and Grafana's classic form", () => {
  expect(new Set(boards.map(({ uid }) => uid)).size).toBe(boards.length);
  for (const { schemaVersion } of boards) expect(schemaVersion).toBeGreaterThanOrEqual(36);
});
