/**
 * How one side bore a load, as figures for the JSON and as lines for the table.
 */
import type { LatencySummary, LoopReport } from "./open-loop.js";

/** One side under its load; cores are what each process used of the machine on average. */
export interface Side extends Omit<LoopReport, "cpuSeconds"> {
  cores: Record<string, number>;
  /** From the instant at which each arrival was due until what it changed could be seen in its window. */
  visible?: LatencySummary;
  /** Arrivals that never could. */
  unseen?: number;
}

/**
 * Answers a second for which `isYes` holds, until the last of them: of a server that falls behind, fewer than it was
 * asked for.
 */
export const yesPerSecond = (
  { answers, seconds }: Pick<Side, "answers" | "seconds">,
  isYes: (answer: string) => boolean,
): number =>
  Math.round(Object.entries(answers).reduce((sum, [answer, times]) => sum + (isYes(answer) ? times : 0), 0) / seconds);

/** A side as lines of a table. */
export function linesOf(name: string, { reply, visible, unseen, behind, answers, unanswered, cores }: Side): string[] {
  const lines = [latencyLine(`${name}: reply`, reply)];
  if (visible) lines.push(latencyLine(`${name}: window visible`, visible));
  lines.push(latencyLine(`${name}: generator late`, behind));
  const parts = Object.entries({ ...answers, unanswered, ...(unseen === undefined ? {} : { unseen }) });
  const used = Object.entries(cores).map(([process, share]) => `${process} ${share.toFixed(2)}`);
  lines.push(`  answers: ${parts.map(([answer, times]) => `${answer} ${times.toLocaleString("en")}`).join(", ")}`);
  if (used.length > 0) lines.push(`  cores: ${used.join(", ")}`);
  return lines;
}

const latencyLine = (name: string, { p50Ms, p90Ms, p99Ms, p999Ms, maxMs }: LatencySummary): string => {
  const figures = { p50: p50Ms, p90: p90Ms, p99: p99Ms, "p99.9": p999Ms, max: maxMs };
  const parts = Object.entries(figures).map(([figure, ms]) => `${figure} ${ms.toFixed(1).padStart(8)}`);
  return `  ${name.padEnd(26)} ${parts.join("  ")} ms`;
};
