/**
 * How long alerts take from firing to the acceptance by each channel, as a histogram for Prometheus. All channels of an
 * engine share one, with the channel as label. The wait for a step of the ladder, for a summary and for the end of
 * quiet hours is included; repetitions, changes and tests are not measured.
 */
import { Histogram } from "prom-client";
import type { Message } from "../../engine/alerting/notification.js";
import type { ChannelsConfiguration } from "./configuration.js";

/** From a push that is accepted at once to an alert that has waited for a night, in seconds. */
const BUCKETS = [0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 14_400, 43_200];

/** By the configuration that an engine's channels share. */
const histograms = new WeakMap<ChannelsConfiguration, Histogram<"channel">>();

/** Of the engine with this configuration; registered nowhere yet. */
export function acceptanceSeconds(channels: ChannelsConfiguration): Histogram<"channel"> {
  const known = histograms.get(channels);
  if (known) return known;
  const made = new Histogram({
    name: "shuiwei_alert_acceptance_seconds",
    help: "From an alert's firing to its acceptance by a channel, with every wait in between, through this process",
    labelNames: ["channel"],
    buckets: BUCKETS,
    registers: [],
  });
  histograms.set(channels, made);
  return made;
}

/** Measures each alert that a channel has just accepted. */
export function observeAcceptance(
  histogram: Histogram<"channel">,
  channel: string,
  { type, alerts }: Message,
  nowMs: number,
): void {
  if (type !== "alert" && type !== "summary") return;
  for (const { firedMs } of alerts) histogram.observe({ channel }, Math.max(0, nowMs - firedMs) / 1_000);
}
