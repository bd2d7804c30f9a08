/**
 * Quiet hours of a recipient as instants: whether an instant is within them, and when they end. They are local times of
 * the shop, so they follow its daylight saving. Pure.
 */
import type { QuietHours } from "../../alerting/people.js";
import { DAY_MS, MINUTE_MS } from "../../kernel/clock.js";
import type { Zone } from "../../kernel/zone.js";

/** When the quiet hours end that an instant is in; 0: it is in none. The same minutes at both ends: there are none. */
export function quietUntilMs(hours: QuietHours | undefined, zone: Zone, atMs: number): number {
  if (!hours) return 0;
  const { fromMinute, toMinute } = hours;
  const day = zone.dayOf(atMs);
  const instantOf = (days: number, minute: number): number =>
    zone.reachedMs((day + days) * DAY_MS + minute * MINUTE_MS);
  if (fromMinute <= toMinute) {
    const endMs = instantOf(0, toMinute);
    return atMs >= instantOf(0, fromMinute) && atMs < endMs ? endMs : 0;
  }
  const endMs = instantOf(0, toMinute);
  if (atMs < endMs) return endMs;
  return atMs >= instantOf(0, fromMinute) ? instantOf(1, toMinute) : 0;
}
