/** Instants as people and programs write them: RFC 3339, always with an offset from UTC. */

/** Date and time with an offset; without one a text would depend on where it is read. */
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2})$/;

/** Milliseconds since the epoch; undefined when the text is no instant after 1970. */
export function instantOf(text: string): number | undefined {
  const atMs = INSTANT.test(text) ? Date.parse(text) : Number.NaN;
  if (!(atMs >= 0)) return undefined;
  // The 30th of February would otherwise be the 2nd of March.
  const day = text.slice(0, 10);
  const dayMs = Date.parse(day);
  return Number.isNaN(dayMs) || !new Date(dayMs).toISOString().startsWith(day) ? undefined : atMs;
}
