/** Times as Youzan writes them: in China's time, which has had no summer time since 1991, in whole seconds. */
const CHINA_OFFSET_MS = 8 * 3_600_000;

/** `yyyy-MM-dd HH:mm:ss` */
export const chinaText = (ms: number): string =>
  new Date(ms + CHINA_OFFSET_MS).toISOString().slice(0, 19).replace("T", " ");

/** NaN: it is no such time. */
export function chinaTimeMs(value: unknown): number {
  const [, date, time] = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)$/.exec(String(value)) ?? [];
  return date === undefined ? Number.NaN : Date.parse(`${date}T${time}+08:00`);
}
