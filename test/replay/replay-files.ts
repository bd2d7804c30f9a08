/** A replay of CSV files through a mapping, as `shuiwei replay` composes it. */
import { readHistory } from "../../connectors/csv/index.js";
import { loadMapping } from "../../connectors/mapping/mapping.js";
import { type ReplaySettings, type ReplaySummary, replay } from "../../engine/replay/replay.js";

export interface FileReplay extends Omit<ReplaySettings, "history"> {
  files: readonly string[];
  /** Name of a built-in mapping, or path of a JSON file. */
  mapping: string;
}

export async function replayFiles({ files, mapping, ...settings }: FileReplay): Promise<ReplaySummary> {
  return replay({ ...settings, history: readHistory(files, await loadMapping(mapping), { zone: settings.zone }) });
}
