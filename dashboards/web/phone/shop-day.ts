/** Times of the shop's day, computed by the browser's own calendar of zones. Pure. */

const DAY_MS = 86_400_000;

/** Milliseconds by which a zone's clock is ahead of UTC at an instant. */
function offsetMs(ms: number, zone: string): number {
  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone,
    hourCycle: "h23",
    ...{ year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  }).formatToParts(ms);
  const of = (type: string) => Number(parts.find((part) => part.type === type)?.value);
  const local = Date.UTC(of("year"), of("month") - 1, of("day"), of("hour"), of("minute"), of("second"));
  return local - Math.floor(ms / 1_000) * 1_000;
}

/** The instant at which it is `hour` o'clock on the next day in a zone. */
export function nextMorning(nowMs: number, zone: string, hour: number): number {
  const localMs = nowMs + offsetMs(nowMs, zone);
  const wantedMs = (Math.floor(localMs / DAY_MS) + 1) * DAY_MS + hour * 3_600_000;
  // The offset may change over night: once more with the one of then.
  const nearMs = wantedMs - offsetMs(nowMs, zone);
  return wantedMs - offsetMs(nearMs, zone);
}
