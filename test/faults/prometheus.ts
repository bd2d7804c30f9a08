/**
 * A real Prometheus (Debian: package prometheus) on a free port of this machine, with the product's rules, that reads
 * given processes every second. It ends with the test, by its own process, and leaves no data.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sleep, stopwatch } from "../../engine/kernel/clock.js";
import { freePort } from "./bed.js";

const RULES = fileURLToPath(new URL("../../dashboards/grafana/rules/*.yml", import.meta.url));
const START_LIMIT_MS = 30_000;

export const hasPrometheus = (() => {
  try {
    execFileSync("prometheus", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

/** Looks ten times a second. @throws Error when it is not so in time */
export async function until(isSo: () => Promise<boolean>, limitMs: number, what: string): Promise<void> {
  const elapsed = stopwatch();
  while (!(await isSo())) {
    if (elapsed() > limitMs) throw new Error(`waited in vain for ${what}`);
    await sleep(100);
  }
}

export interface Series {
  metric: Record<string, string>;
  /** The value of an instant query. */
  value?: [number, string];
  /** The values of a range query. */
  values?: [number, string][];
}

export interface RuleState {
  name: string;
  type: "alerting" | "recording";
  health: "ok" | "err" | "unknown";
  lastError?: string;
  state?: "inactive" | "pending" | "firing";
}

export class Prometheus {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(url: string, child: ChildProcess, folder: string) {
    this.url = url;
    this.#child = child;
    this.#folder = folder;
  }

  /** @param jobs names of the scrape jobs, with the ports of each one's processes on this machine */
  static async start(jobs: Readonly<Record<string, readonly number[]>>): Promise<Prometheus> {
    const folder = await mkdtemp(join(tmpdir(), "shuiwei-prometheus-"));
    const port = await freePort();
    const config = {
      global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
      rule_files: [RULES],
      scrape_configs: Object.entries(jobs).map(([name, ports]) => ({
        job_name: name,
        static_configs: [{ targets: ports.map((each) => `127.0.0.1:${each}`) }],
      })),
    };
    // JSON is YAML, too.
    await writeFile(join(folder, "prometheus.yml"), JSON.stringify(config));
    const child = spawn(
      "prometheus",
      [
        `--config.file=${join(folder, "prometheus.yml")}`,
        `--storage.tsdb.path=${join(folder, "data")}`,
        `--web.listen-address=127.0.0.1:${port}`,
        "--log.level=error",
      ],
      { stdio: "ignore" },
    );
    const prometheus = new Prometheus(`http://127.0.0.1:${port}`, child, folder);
    try {
      await until(() => prometheus.#isReady(), START_LIMIT_MS, "Prometheus to be ready");
    } catch (thrown) {
      await prometheus.stop();
      throw thrown;
    }
    return prometheus;
  }

  async #isReady(): Promise<boolean> {
    return fetch(`${this.url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  }

  /** @throws Error with Prometheus' own message when the expression is wrong */
  async query(expression: string): Promise<Series[]> {
    const { result } = await this.#get<{ result: Series[] }>("query", { query: expression });
    return result;
  }

  async queryRange(expression: string, fromS: number, toS: number): Promise<Series[]> {
    const range = { query: expression, start: String(fromS), end: String(toS), step: "1" };
    return (await this.#get<{ result: Series[] }>("query_range", range)).result;
  }

  async rules(): Promise<RuleState[]> {
    const { groups } = await this.#get<{ groups: { rules: RuleState[] }[] }>("rules", {});
    return groups.flatMap(({ rules }) => rules);
  }

  /** Values of a label, as Grafana's `label_values` reads them. */
  labelValues(label: string, selector: string): Promise<string[]> {
    return this.#get<string[]>(`label/${label}/values`, { "match[]": selector });
  }

  async #get<Data>(path: string, parameters: Record<string, string>): Promise<Data> {
    const response = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const body = (await response.json()) as { status: string; error?: string; data: Data };
    if (body.status !== "success") throw new Error(`${body.error}: ${JSON.stringify(parameters)}`);
    return body.data;
  }

  async stop(): Promise<void> {
    const isRunning = this.#child.exitCode === null && this.#child.signalCode === null;
    if (isRunning && this.#child.kill("SIGTERM")) await once(this.#child, "exit");
    await rm(this.#folder, { recursive: true, force: true });
  }
}
