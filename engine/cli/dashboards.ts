/**
 * `shuiwei dashboards --out DIR`: writes the Grafana dashboards, the rules for Prometheus, the runbook, and examples of
 * the files by which Grafana and Prometheus read them. Repeating it updates the files of an earlier release. A file
 * that it has not written, or that somebody has changed since, is never overwritten: then nothing is written at all.
 */
import { createHash } from "node:crypto";
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { badInput } from "../kernel/errors.js";
import { makeFolder, pathFault } from "../kernel/folder.js";
import { defineOptions, type OptionValues } from "../kernel/options.js";
import { defineCommand } from "./command.js";
import { counted, printLine } from "./text.js";

const OP = "dashboards";
const OUT = "--out";
/** Copied beside the compiled code by the build. */
const SHIPPED = fileURLToPath(new URL("../../dashboards/grafana/", import.meta.url));
/** Where the rules say that the runbook is. */
const SHIPPED_RUNBOOK = "dashboards/grafana/README.md";
/** Names and SHA-256 of what was written last. */
const MANIFEST = "shuiwei-files.json";
const ADDRESS = /^https?:\/\/[^\s"\\]+$/;

const dashboardsOptions = defineOptions({
  out: { type: "string", required: true, about: "the folder to write to; other files in it stay" },
  dashboardsPath: {
    type: "string",
    pattern: /^[^\0\n"\\]+$/,
    expects: "a path",
    about: "the folder of the dashboards as Grafana sees it, for example in a container; default: in --out",
  },
  runbookUrl: {
    type: "string",
    pattern: ADDRESS,
    expects: "an address such as https://wiki.example/shuiwei",
    about: "where you publish the runbook (README.md); alerts link to its sections",
  },
  prometheusUrl: {
    type: "string",
    default: "http://localhost:9090",
    pattern: ADDRESS,
    expects: "an address such as http://localhost:9090",
    about: "Prometheus, as Grafana reaches it",
  },
  scrapeTargets: {
    type: "list",
    default: ["localhost:8618"],
    about: "processes with the role api, as Prometheus reaches them: host:port",
  },
});
type Values = OptionValues<typeof dashboardsOptions>;

export const command = defineCommand({
  name: "dashboards",
  about: "write dashboards for Grafana, rules for Prometheus, their runbook, and files that provision them",
  options: dashboardsOptions,
  /** @throws EngineError `bad_input` when a file would be overwritten that this command has not written */
  async run({ values }) {
    const files = new Map([...(await shippedFiles(values)), ...provisioning(values)]);
    const { written, removed } = await writeAll(resolve(values.out), files);
    printLine(
      `${counted(files.size, "file")} in ${values.out}: ${counted(written, "file")} written, ${counted(removed, "file")} removed`,
    );
  },
});

/** The generated files under the names that they get, with the runbook's address. */
async function shippedFiles({ runbookUrl }: Values): Promise<[string, string][]> {
  const read = (name: string) => readFile(join(SHIPPED, name), "utf8");
  const [boards, rules] = await Promise.all([readdir(SHIPPED), readdir(join(SHIPPED, "rules"))]);
  const files = [
    ...boards.filter((name) => name.endsWith(".json")).map((name) => [name, `dashboards/${name}`] as const),
    ...rules.filter((name) => name.endsWith(".yml")).map((name) => [`rules/${name}`, `rules/${name}`] as const),
    ["README.md", "README.md"] as const,
  ];
  return Promise.all(
    files.map(async ([from, to]): Promise<[string, string]> => {
      const text = await read(from);
      const isRule = to.startsWith("rules/");
      return [to, isRule && runbookUrl !== undefined ? text.replaceAll(SHIPPED_RUNBOOK, runbookUrl) : text];
    }),
  );
}

/** A string of JSON is one of YAML, too. */
const quoted = (text: string): string => JSON.stringify(text);

/** Files by which Grafana and Prometheus read the others. */
function provisioning({ out, dashboardsPath, prometheusUrl, scrapeTargets }: Values): [string, string][] {
  return [
    [
      "provisioning/dashboards/shuiwei.yml",
      `# For the folder provisioning/dashboards of Grafana.
apiVersion: 1
providers:
  - name: shuiwei
    folder: Shuiwei
    type: file
    allowUiUpdates: false
    options:
      path: ${quoted(dashboardsPath ?? join(resolve(out), "dashboards"))}
`,
    ],
    [
      "provisioning/datasources/shuiwei.yml",
      `# For the folder provisioning/datasources of Grafana. Not needed when Grafana has a data source for this Prometheus.
apiVersion: 1
datasources:
  - name: Prometheus
    uid: shuiwei-prometheus
    type: prometheus
    access: proxy
    url: ${quoted(prometheusUrl)}
    jsonData:
      timeInterval: 10s
`,
    ],
    [
      "prometheus.yml",
      `# A part of Prometheus' configuration: the rules, and the processes that it reads.
rule_files:
  - rules/*.yml
scrape_configs:
  # The dashboards show the job as the deployment.
  - job_name: shuiwei
    scrape_interval: 10s
    # A token of the role read; not needed with --open metrics.
    # authorization: { credentials_file: shuiwei-token }
    static_configs:
      - targets: [${scrapeTargets.map(quoted).join(", ")}]
`,
    ],
  ];
}

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex");

async function writeAll(
  folder: string,
  files: ReadonlyMap<string, string>,
): Promise<{ written: number; removed: number }> {
  await makeFolder(folder, OUT);
  const last = await readManifest(folder);
  const isOurs = (name: string, text: string): boolean => text === files.get(name) || hashOf(text) === last.get(name);
  const found = new Map<string, string>();
  for (const name of new Set([...files.keys(), ...last.keys()])) {
    const text = await textAt(join(folder, name));
    if (text !== undefined) found.set(name, text);
  }
  const foreign = [...found].filter(([name, text]) => files.has(name) && !isOurs(name, text)).map(([name]) => name);
  if (foreign.length > 0)
    throw badInput(
      OP,
      OUT,
      `${folder} has files of others, or changed ones: ${foreign.sort().join(", ")}; nothing is written`,
    );
  const changed = [...files].filter(([name, text]) => found.get(name) !== text);
  for (const [name, text] of changed) await replace(folder, name, text);
  const left = [...found].filter(([name, text]) => !files.has(name) && isOurs(name, text)).map(([name]) => name);
  for (const name of left) await rm(join(folder, name));
  const manifest = Object.fromEntries([...files].map(([name, text]) => [name, hashOf(text)]));
  await replace(folder, MANIFEST, `${JSON.stringify(manifest, null, 2)}\n`);
  return { written: changed.length, removed: left.length };
}

/** Replaces a file at once, so that who reads it gets the old one or the new one. */
async function replace(folder: string, name: string, text: string): Promise<void> {
  const path = join(folder, name);
  await makeFolder(dirname(path), OUT);
  const next = `${path}.next`;
  try {
    await writeFile(next, text);
    await rename(next, path);
  } catch (thrown) {
    throw pathFault(OUT, path, thrown);
  }
}

async function textAt(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw pathFault(OUT, path, thrown);
  }
}

/** Without one, or with one that cannot be read, no file counts as ours. */
async function readManifest(folder: string): Promise<Map<string, string>> {
  const text = await textAt(join(folder, MANIFEST));
  if (text === undefined) return new Map();
  try {
    const names = Object.entries(JSON.parse(text) as Record<string, unknown>);
    return new Map(
      names.filter((entry): entry is [string, string] => isSafe(entry[0]) && typeof entry[1] === "string"),
    );
  } catch {
    return new Map();
  }
}

/** A name of a manifest that somebody has written never leads out of the folder. */
const isSafe = (name: string): boolean => /^[\w-]+(\/[\w-]+)*\.\w+$/.test(name);
