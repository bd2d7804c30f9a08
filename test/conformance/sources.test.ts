/** The sources of history against their contract. The demo shop is none: it makes actions, not rows of a past. */
import { mkdtemp, readdir, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { readHistory } from "../../connectors/csv/index.js";
import { checkMapping } from "../../connectors/mapping/mapping.schema.js";
import { describeSource, type SampleRow } from "./source.js";

const MAPPING = checkMapping(
  {
    name: "sales",
    channel: "CS",
    columns: { time: "time", sku: "sku", units: "units" },
    time: "iso",
    // biome-ignore lint/suspicious/noThenProperty: a field of a mapping's rules, and never a function
    rules: [{ when: "always", then: "sale" }],
  },
  "sales.json",
);
const HEADER = "time,sku,units\n";

for (const isPacked of [false, true]) {
  describeSource(isPacked ? "packed CSV" : "CSV", async () => {
    const folder = await mkdtemp(join(tmpdir(), "source-"));
    let files = 0;
    const write = async (text: string): Promise<string> => {
      const path = join(folder, `${++files}.csv`);
      await writeFile(path, isPacked ? gzipSync(text) : text);
      return path;
    };
    return {
      input: (rows) => write(HEADER + linesOf(rows)),
      brokenInput: (rows) => write(`${HEADER}${linesOf(rows)}one field\n`),
      wrongInput: () => write("a,b\n1,2\n"),
      read: (inputs) => readHistory(inputs, MAPPING),
      async openInputs() {
        const links = await Promise.all(
          (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
        );
        return links.filter((path) => path.startsWith(folder)).length;
      },
      close: () => rm(folder, { recursive: true }),
    };
  });
}

function linesOf(rows: Iterable<SampleRow>): string {
  let text = "";
  for (const { timeMs, sku, units, bad } of rows)
    text += `${new Date(timeMs).toISOString()},${sku},${bad ? "many" : units}\n`;
  return text;
}
