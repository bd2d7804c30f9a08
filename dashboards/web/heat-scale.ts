/**
 * Maps units to colours. Lightness rises (dark theme) or falls (light theme) evenly from the first stop to the last, so
 * the order of two cells can be read without seeing hues. Stops are mixed in OKLab, where equal distances look equal.
 * Orange and red are left out: they are for alerts. The scale is a square root, because a minute of a rush has hundreds
 * of times the units of a calm one and both must be visible.
 */

/** Chosen so that lightness is monotone: about 0.33 to 0.96 in the dark, 0.92 to 0.27 in the light. */
const STOPS = {
  dark: ["#14364f", "#13587d", "#0f829b", "#27ab97", "#7fce7c", "#d3e77d", "#fdfbd4"],
  light: ["#d5ebf4", "#9fd3e3", "#5eb0cd", "#2f87b5", "#245f9c", "#243a78", "#1c1a49"],
} as const;

export type Theme = keyof typeof STOPS;

type Triple = readonly [number, number, number];

const linear = (channel: number) => (channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4);
const gamma = (channel: number) => (channel <= 0.0031308 ? channel * 12.92 : 1.055 * channel ** (1 / 2.4) - 0.055);

function oklab(hex: string): Triple {
  const [r, g, b] = [1, 3, 5].map((at) => linear(Number.parseInt(hex.slice(at, at + 2), 16) / 255)) as [
    number,
    number,
    number,
  ];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function css([lightness, a, b]: Triple): string {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const rgb = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((channel) => Math.round(255 * gamma(Math.min(1, Math.max(0, channel)))));
  return `rgb(${rgb.join(",")})`;
}

const STEPS = 64;

function ramp(stops: readonly string[]): readonly string[] {
  const labs = stops.map(oklab);
  return Array.from({ length: STEPS }, (_, step) => {
    const at = (step / (STEPS - 1)) * (labs.length - 1);
    const from = Math.min(Math.floor(at), labs.length - 2);
    const [a, b] = [labs[from], labs[from + 1]] as [Triple, Triple];
    const share = at - from;
    return css([a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share]);
  });
}

const ramps: Readonly<Record<Theme, readonly string[]>> = { dark: ramp(STOPS.dark), light: ramp(STOPS.light) };

/** The colour of `units` (> 0) on a scale that ends at `top`. */
export function heatColour(units: number, top: number, theme: Theme): string {
  const at = Math.sqrt(Math.min(1, units / top));
  return ramps[theme][Math.round(at * (STEPS - 1))] as string;
}

/** The whole scale as a CSS gradient, from few units to many. */
export const heatGradient = (theme: Theme): string => `linear-gradient(to right, ${ramps[theme].join(", ")})`;

/** First digits of scale ends: a quarter and a sixteenth, the legend's marks, are then whole and easy to read. */
const END_DIGITS = [1.6, 3.2, 4.8, 6.4, 8, 9.6];
const LOWEST_TOP = 16;

/** The end of the scale for cells up to `most`; `current` is kept while it fits, so that colours do not flicker. */
export function scaleTop(most: number, current: number): number {
  if (most <= current && most > current / 3) return current;
  for (let power = 10; ; power *= 10)
    for (const digit of END_DIGITS) if (digit * power >= most) return Math.max(LOWEST_TOP, digit * power);
}

/** Marks of a legend: where on the scale (0 to 1) and how many units. */
export const legendMarks = (top: number): ReadonlyArray<readonly [at: number, units: number]> => [
  [0, 0],
  [0.25, Math.round(top / 16)],
  [0.5, Math.round(top / 4)],
  [1, top],
];
