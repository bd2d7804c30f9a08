/**
 * Numbers, times and names formatted in the page's language and the shop's time zone. Formatters are expensive to
 * create, so they are kept. A number of units is never rounded, except on a scale; multiples of the average and
 * durations are.
 */
import type { Language, Translate } from "./dictionary.js";

const locales: Readonly<Record<Language, string>> = { zh: "zh-CN", en: "en-GB" };

/** A hundredth of a percent: the last digit that is shown. */
const SMALLEST_SHARE = 0.0001;

const formatters = new Map<string, Intl.DateTimeFormat>();

function dateTime(language: Language, zone: string, kind: "minute" | "second" | "date" | "day"): Intl.DateTimeFormat {
  const key = `${language} ${zone} ${kind}`;
  let formatter = formatters.get(key);
  if (formatter === undefined) {
    const parts: Intl.DateTimeFormatOptions =
      kind === "day"
        ? { month: "numeric", day: "numeric" }
        : kind === "date"
          ? { month: language === "zh" ? "long" : "short", day: "numeric", weekday: "short" }
          : { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(kind === "second" && { second: "2-digit" }) };
    formatter = new Intl.DateTimeFormat(locales[language], { ...parts, timeZone: zone });
    formatters.set(key, formatter);
  }
  return formatter;
}

/** Formats in one language and one zone. */
export interface Format {
  units(value: number): string;
  /** Short, for a scale: `480`, `12万`, `120K`. */
  mark(value: number): string;
  /** A share from 0 to 1 as a percentage: `0.83 %`; a share that is not zero is never shown as zero. */
  share(value: number): string;
  /** With its sign: `+12`, `−3`. */
  signed(value: number): string;
  /** How many times `dailyAverage` the `hourUnits` are; undefined without an average. */
  times(hourUnits: number, dailyAverage: number | null): string | undefined;
  /** `00:17` */
  minute(ms: number): string;
  /** `00:17:05` */
  second(ms: number): string;
  date(ms: number): string;
  /** For a scale: `6/18`, `18/06`. */
  day(ms: number): string;
  /** A duration in one unit, the one that fits its size. */
  duration(ms: number): string;
  /** A duration for reading at a glance, without fractions: `45 s`, `12 min`, `3 h`, `2 d`. */
  age(ms: number): string;
  /** `7:32`, `1:07:32` */
  countdown(ms: number): string;
  language: Language;
  /** IANA name of the shop's zone. */
  zone: string;
}

export function formatIn(language: Language, zone: string, text: Translate): Format {
  const whole = new Intl.NumberFormat(locales[language], { maximumFractionDigits: 0 });
  const compact = new Intl.NumberFormat(locales[language], { notation: "compact", maximumFractionDigits: 1 });
  const percent = new Intl.NumberFormat(locales[language], {
    style: "percent",
    minimumFractionDigits: 2,
    maximumFractionDigits: 2,
  });
  const signed = new Intl.NumberFormat(locales[language], { signDisplay: "exceptZero", maximumFractionDigits: 0 });
  const tenth = new Intl.NumberFormat(locales[language], { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  return {
    language,
    zone,
    units: (value) => whole.format(value),
    mark: (value) => (value < 10_000 ? whole : compact).format(value),
    share: (value) =>
      value > 0 && value < SMALLEST_SHARE ? `<${percent.format(SMALLEST_SHARE)}` : percent.format(value),
    signed: (value) => signed.format(value).replace("-", "\u2212"),
    times: (hourUnits, dailyAverage) => {
      if (dailyAverage === null || dailyAverage <= 0) return undefined;
      const times = hourUnits / dailyAverage;
      return times < 100 ? tenth.format(times) : whole.format(times);
    },
    minute: (ms) => dateTime(language, zone, "minute").format(ms),
    second: (ms) => dateTime(language, zone, "second").format(ms),
    date: (ms) => dateTime(language, zone, "date").format(ms),
    day: (ms) => dateTime(language, zone, "day").format(ms),
    duration: (ms) => {
      if (ms < 1_000) return text("milliseconds", { value: whole.format(Math.max(0, ms)) });
      if (ms < 10_000) return text("seconds", { value: tenth.format(ms / 1_000) });
      if (ms < 60_000) return text("seconds", { value: whole.format(ms / 1_000) });
      if (ms < 5_400_000) return text("minutes", { value: whole.format(Math.floor(ms / 60_000)) });
      return text("hours", { value: tenth.format(ms / 3_600_000) });
    },
    age: (ms) => {
      const minutes = Math.floor(ms / 60_000);
      if (minutes < 1) return text("seconds", { value: whole.format(Math.max(0, Math.floor(ms / 1_000))) });
      if (minutes < 120) return text("minutes", { value: whole.format(minutes) });
      if (minutes < 2_880) return text("hours", { value: whole.format(Math.floor(minutes / 60)) });
      return text("days", { value: whole.format(Math.floor(minutes / 1_440)) });
    },
    countdown: (ms) => {
      const seconds = Math.max(0, Math.ceil(ms / 1_000));
      const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
      const tail = String(seconds % 60).padStart(2, "0");
      return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
    },
  };
}

/** Chinese characters and their like are as wide as two Latin letters. */
const widthOf = (character: string): number => ((character.codePointAt(0) as number) < 0x2e80 ? 1 : 2);

/** How wide a name is, in Latin letters. */
export function nameWidth(name: string): number {
  let width = 0;
  for (const character of name) width += widthOf(character);
  return width;
}

/** A name at most `widest` letters wide. Both ends stay: products differ at the start and variants at the end. */
export function shortName(name: string, widest: number): string {
  if (nameWidth(name) <= widest) return name;
  const characters = Array.from(name);
  const half = (widest - 1) / 2;
  const take = (from: readonly string[]): string[] => {
    let width = 0;
    return from.slice(
      0,
      from.findIndex((character) => {
        width += widthOf(character);
        return width > half;
      }),
    );
  };
  return `${take(characters).join("")}…${take(characters.toReversed()).reverse().join("")}`;
}
