/**
 * Routes: which emits of a topic's jobs become events of an event topic, and what they say there. Routes are part of
 * the target's definition. A route is pure and is applied again to the same emit after a crash. That the routes of all
 * topics form no circle is checked here, before anything starts: an event that causes itself would never end.
 */
import { badInput } from "../kernel/errors.js";
import type { Emit } from "./job.js";

/** What an emit becomes; the key decides the partition. */
export interface RoutedEvent {
  key: string;
  kind: string;
  /** 64 KiB at most when packed. */
  payload: unknown;
}

export interface Route {
  /** Name of the topic whose jobs emit. */
  readonly from: string;
  /** Kinds of emits; one kind of a topic has one route to a target. */
  readonly kinds: readonly string[];
  /** Undefined: this emit becomes no event. If it throws, the emit becomes a dead letter of the sink `to-<target>`. */
  event(emit: Emit): RoutedEvent | undefined;
}

/** A topic as far as routes are concerned. */
export interface RoutedTopic {
  readonly name: string;
  readonly routes?: readonly Route[];
}

/**
 * Checks the routes of all topics of an engine.
 * @throws EngineError `bad_input`: two topics of one name, a route from a topic that does not exist, a kind with two
 *   routes to one target, or a circle, named topic by topic
 */
export function checkRoutes(topics: readonly RoutedTopic[]): void {
  const sources = new Map<string, string[]>();
  for (const { name, routes = [] } of topics) {
    if (sources.has(name)) throw badInput("routes.check", name, "two topics have this name");
    sources.set(name, [...new Set(routes.map(({ from }) => from))]);
    const taken = new Set<string>();
    for (const { from, kinds } of routes) {
      const place = `route from ${from} to ${name}`;
      if (!topics.some((topic) => topic.name === from))
        throw badInput("routes.check", place, `there is no topic ${from}`);
      for (const kind of kinds) {
        if (taken.has(`${from} ${kind}`)) throw badInput("routes.check", place, `the kind ${kind} has two routes`);
        taken.add(`${from} ${kind}`);
      }
    }
  }
  for (const name of sources.keys()) {
    const circle = pathTo(name, name, sources, new Set());
    if (circle) throw badInput("routes.check", circle.join(" → "), "these routes form a circle");
  }
}

/** A path of routes from a topic to another, from source to target; undefined when there is none. */
function pathTo(
  from: string,
  to: string,
  sources: ReadonlyMap<string, readonly string[]>,
  seen: Set<string>,
): string[] | undefined {
  for (const source of sources.get(to) ?? []) {
    if (source === from) return [source, to];
    if (seen.has(source)) continue;
    seen.add(source);
    const path = pathTo(from, source, sources, seen);
    if (path) return [...path, to];
  }
  return undefined;
}
