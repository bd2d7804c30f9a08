/**
 * Whom an alert notifies at a level, and when the next level is. The levels are those of the route that matches, else
 * the default: the roles of the rule first, everybody after five minutes, or everybody at once when nobody has these
 * roles. A level that reaches nobody is left out, and a route that reaches nobody at all notifies everybody. Endpoints
 * that are no person's contact are notified first when the configuration has no routes. Pure.
 */
import type { Alert } from "./alert.js";
import type { Directory } from "./directory.js";
import type { Recipient } from "./notification.js";
import { endpointKey, recipientsOf } from "./recipients.js";
import { ESCALATE_MS, type RouteLevel, type RouteTarget, routeOf } from "./route.js";
import { ALERT_RULES } from "./rules.js";

export interface RoutingPlan {
  /** The requested level, or a later one if that reaches nobody. */
  readonly level: number;
  readonly recipients: readonly Recipient[];
  /** How long after this level the next one is; undefined: there is none. */
  readonly nextAfterMs: number | undefined;
  /** Targets, and keys of people, that nobody is reached by. */
  readonly unreachable: readonly string[];
}

/** @param minuteOfDay in the shop's zone */
export function planOf(alert: Alert, fromLevel: number, directory: Directory, minuteOfDay: number): RoutingPlan {
  const levels = routeOf(alert, directory.routes, minuteOfDay)?.levels ?? defaultLevels(alert, directory);
  const unreachable = new Set<string>();
  for (let level = fromLevel; level < levels.length; level++) {
    const { afterMs, to } = levels[level] as RouteLevel;
    const reached = recipientsOf(to, directory);
    for (const each of reached.unreachable) unreachable.add(each);
    if (reached.recipients.length === 0) continue;
    const nextMs = levels[level + 1]?.afterMs;
    const nextAfterMs = nextMs === undefined ? undefined : Math.max(0, nextMs - afterMs);
    return { level, recipients: reached.recipients, nextAfterMs, unreachable: [...unreachable] };
  }
  // Nobody at all would be notified. A later level that reaches nobody ends there: somebody was notified before.
  const { recipients } = fromLevel === 0 ? recipientsOf(all(directory), directory) : { recipients: [] };
  return { level: fromLevel, recipients, nextAfterMs: undefined, unreachable: [...unreachable] };
}

function defaultLevels(alert: Alert, directory: Directory): readonly RouteLevel[] {
  const roles = ALERT_RULES[alert.rule].roles.map((role) => `role:${role}`);
  const everybody = { afterMs: ESCALATE_MS, to: ["everybody"] };
  if (recipientsOf(roles, directory).recipients.length === 0)
    return [{ afterMs: 0, to: [...roles, ...all(directory)] }];
  const endpoints = directory.routes.length === 0 ? freeEndpoints(directory) : [];
  return [{ afterMs: 0, to: [...roles, ...endpoints] }, everybody];
}

/** Whether an alert notifies anybody, whatever its rule: when its levels reach nobody, everybody is notified. */
export const reachesAnybody = (directory: Directory): boolean =>
  recipientsOf(all(directory), directory).recipients.length > 0;

const all = (directory: Directory): RouteTarget[] => ["everybody", ...freeEndpoints(directory)];

/** Endpoints that are no person's contact. */
const freeEndpoints = ({ endpoints, people }: Directory): RouteTarget[] => {
  const contacts = new Set(people.flatMap(({ ladder }) => ladder.flat()));
  return endpoints.map(({ name }) => endpointKey(name)).filter((key) => !contacts.has(key));
};
