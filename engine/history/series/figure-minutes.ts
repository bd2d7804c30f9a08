/**
 * What is recorded of the engine's figures: each as it is at the end of a minute, by one process for all. A minute that
 * nobody has recorded is a gap. A figure that is counted up becomes the difference of two minutes that follow each
 * other, so it has no point in an owner's first minute.
 */
import { MINUTE_MS } from "../../kernel/clock.js";
import type { Coverage, SeriesGap } from "./coverage.js";
import { FIGURE_NAMES, FIGURES, type FigureName } from "./figures.js";
import type { SeriesUpdate } from "./series-store.js";
import type { MinuteSource } from "./series-task.js";

/** The present values; undefined: cannot be read now. `accepted-commands` is the number since the deployment began. */
export type FigureReadings = Readonly<Record<FigureName, number | undefined>>;

export interface FigureMinutesOptions {
  /** The shop's time up to which the figures are known. */
  completeMs(): number;
  read(): Promise<FigureReadings>;
}

export class FigureMinutes implements MinuteSource {
  readonly #options: FigureMinutesOptions;
  #before: { endMs: number; commands: number } | undefined;
  #collected: (() => void) | undefined;

  constructor(options: FigureMinutesOptions) {
    this.#options = options;
  }

  completeMs(): number {
    return this.#options.completeMs();
  }

  async collect(endMs: number, coverage: Coverage): Promise<{ updates: SeriesUpdate[]; gaps: SeriesGap[] }> {
    if (endMs <= coverage.toMs) return { updates: [], gaps: [] };
    const readings = await this.#options.read();
    const commands = readings["accepted-commands"];
    const before = this.#before;
    const isNext = commands !== undefined && before?.endMs === endMs - MINUTE_MS && commands >= before.commands;
    const values: FigureReadings = {
      ...readings,
      "accepted-commands": isNext ? commands - before.commands : undefined,
    };
    this.#collected = () => {
      this.#before = commands === undefined ? undefined : { endMs, commands };
    };
    const updates = FIGURE_NAMES.flatMap((name): SeriesUpdate[] => {
      const value = values[name];
      if (value === undefined || !Number.isFinite(value)) return [];
      const minutes = [{ atMs: endMs - MINUTE_MS, value: Math.max(0, Math.round(value)) }];
      return [{ name, combination: FIGURES[name].combination, minutes }];
    });
    const missedMs = endMs - MINUTE_MS;
    const isAway = coverage.toMs > 0 && coverage.toMs < missedMs;
    return { updates, gaps: isAway ? [{ fromMs: coverage.toMs, toMs: missedMs, missing: "all" }] : [] };
  }

  stored(): void {
    this.#collected?.();
    this.#collected = undefined;
  }

  sweepable(): string[] {
    return [];
  }
}
