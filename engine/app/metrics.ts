/**
 * Adds the engine's metrics to a registry of Prometheus: every line of the metric table, and what a sink measures
 * itself.
 */
import { Counter, Gauge, type Registry } from "prom-client";
import type { MetricSources } from "./metric-row.js";
import { metricTable } from "./metric-table.js";

export function registerEngineMetrics(registry: Registry, sources: MetricSources): void {
  for (const { name, isShared, type, help, labels, read } of metricTable()) {
    const Metric = type === "gauge" ? Gauge : Counter;
    new Metric({
      name: isShared ? name : `shuiwei_${name}`,
      help,
      labelNames: labels,
      registers: [registry],
      async collect(this: Gauge | Counter) {
        const samples = await read(sources);
        this.reset();
        for (const [value, ...values] of samples)
          if (value !== undefined) this.inc(Object.fromEntries(labels.map((label, i) => [label, values[i]])), value);
      },
    });
  }
  for (const { metrics } of sources.engine.sinks) for (const metric of metrics) registry.registerMetric(metric);
}
