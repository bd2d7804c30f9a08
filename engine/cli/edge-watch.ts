/**
 * `shuiwei edge watch`: reads the names and addresses of edges, and prints what begins and ends, each with its time.
 */
import { addressOf } from "../../connectors/cdn/probe/target.js";
import { watchEdges } from "../../connectors/cdn/probe/watch.js";
import type { WatchedEdge } from "../../connectors/cdn/probe/watch-edge.js";
import { systemClock } from "../kernel/clock.js";
import { badInput } from "../kernel/errors.js";
import type { OptionValues } from "../kernel/options.js";
import type { edgeOptions } from "./edge-options.js";
import { counted, escapeControls, printLine } from "./text.js";

const OP = "edge";
/** Each is a label of metrics. */
const MAX_EDGES = 16;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/;
const say = (text: string): void => printLine(escapeControls(`${new Date(systemClock.now()).toISOString()} ${text}`));

/** Until the signal aborts. @throws EngineError `bad_input` for a wrong name or address */
export async function runWatch(
  operands: readonly string[],
  { everyMs, objective, host, port }: OptionValues<typeof edgeOptions>,
  signal: AbortSignal,
): Promise<void> {
  const edges = operands.map(edgeOf);
  if (edges.length > MAX_EDGES) throw badInput(OP, "URL", `at most ${MAX_EDGES} edges are watched by one process`);
  const twice = edges.find(({ name }, i) => edges.findIndex((each) => each.name === name) < i);
  if (twice !== undefined) throw badInput(OP, twice.name, "two edges have this name: write NAME=URL");
  const settings = { everyMs, objective, onChange: (edge: string, text: string) => say(`${edge}: ${text}`) };
  const onListening = (url: string) =>
    say(`watches ${counted(edges.length, "edge")} every ${everyMs / 1_000} s; metrics at ${url}/metrics`);
  await watchEdges(edges, settings, { host, port, onListening }, signal);
}

/** `NAME=URL`, or an address whose host is the name. */
function edgeOf(text: string): WatchedEdge {
  const [, given, address = text] = /^([^=/]*)=(.*)$/.exec(text) ?? [];
  const url = addressOf(address, "URL");
  const name = given ?? url.host;
  if (!NAME.test(name))
    throw badInput(OP, text, "a name has 1 to 64 letters, digits, dots, dashes, underscores or colons");
  return { name, url };
}
