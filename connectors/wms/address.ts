/**
 * Parses a buyer's address into the codes of its province, city and district (GB/T 2260) and the street
 * with its number (R23). Pure. It never guesses: it follows every possible reading of the text, and
 * returns codes only when all readings give the same division. A name without its ending ("昆山" for 昆山市)
 * counts only where the text after it cannot make it a street or a building. An address in a development
 * zone, in a district that no longer exists, or in traditional characters is unresolved, with the reason.
 */
import { type Division, divisionOf, isWithin, named, namedAt } from "./divisions.js";

/** An address, in one text or with some of its parts in fields of their own. */
export interface AddressInput {
  /** Free text, with or without the divisions before the street. */
  text: string;
  /** Names, in full or short, or six-digit codes. */
  province?: string;
  city?: string;
  district?: string;
}

/**
 * Six digits each. A city or district is absent only where the standard has none: 东莞 has no districts, 香港 has
 * neither.
 */
export interface DivisionCodes {
  province: string;
  city?: string;
  district?: string;
}

export type ParsedAddress =
  | {
      state: "resolved";
      codes: DivisionCodes;
      /** Street and number, 1 to `maxHouseNumber` characters. */
      houseNumber: string;
      /** The text after it: remarks, or what was too long. */
      rest: string;
    }
  | {
      state: "unresolved";
      codes: undefined;
      /** Does not quote the buyer. */
      reason: string;
    };

const DEFAULT_MAX_HOUSE_NUMBER = 80;
/** Names before the street, repeated ones included; limits the readings of a hostile text. */
const MAX_NAMES = 8;
/**
 * How much text is parsed for street and number, as a multiple of `maxHouseNumber`; remarks after it are not parsed.
 */
const STREET_LENGTHS = 4;

const SEPARATORS = /[\s,，、;；:：|/\\.。·・_>-]*/uy;
/** Words and signs before an address. */
const PREAMBLE = /(?:\s|(?:收货|收件|详细)?地址|中华人民共和国|中国|邮编|\d{6}(?!\d)|[:,])*/uy;
/** Words written where a division is expected, and that name none. */
const FILLERS = /(?:市辖区|(?:省|自治区)?直辖县级(?:行政区划|行政单位|市)?|县(?=[\s,]))/uy;
const FILLER_FIELD = /^(?:市辖区|辖区|县|郊县|城区|(?:省|自治区)?直辖县?级?(?:行政区划|行政单位|市)?)$/u;

/** A district with such a name needs its city: parts of any town are called so. */
const ANY_TOWNS = /^[城市新东西南北中江河桥铁路矿郊关海]{1,2}区$/u;
/** After a short name: the two together name a road or a village. */
const ROAD_GOES_ON =
  /^[东西南北中上下内外前后新老大小环]{0,2}[一二三四五六七八九十\d]{0,3}(?:路|街|道|大道|巷|弄|里|胡同|桥|村|庄|屯|镇|乡)/u;
/** After a short name: the two together name a building or a place, such as 昆山花园. */
const BUILDING_GOES_ON =
  /^[东西南北中新老大小]{0,2}(?:营|坊|苑|园|城(?![东西南北中关郊区])|花园|花苑|广场|大厦|大楼|小区|公寓|商场|商城|市场|中心|酒店|宾馆|饭店|山庄|公园|国际|纪念|医院|银行|大学|学院|中学|小学|火?车站|机场|港|站|厂|公司)/u;
/** After a short name: a town or subdistrict, or (where the province or city is known) a street with a number. */
const TOWN = /^\p{Script=Han}{2,6}?(?:镇|乡|街道)/u;
const STREET = /^\p{Script=Han}{2,5}?(?:路|大道|大街|街)[^\p{Script=Han}]{0,2}\d/u;

interface Reading {
  leaf: Division;
  /** Where the street begins. */
  end: number;
  names: number;
}

/**
 * @param maxHouseNumber the maximum length of `houseNumber`, in characters (code points)
 */
export function parseAddress(input: AddressInput, maxHouseNumber = DEFAULT_MAX_HOUSE_NUMBER): ParsedAddress {
  const text = plainText(input.text);
  const fields = readFields(input);
  if (typeof fields === "string") return unresolved(fields);
  const start = endOf(PREAMBLE, text, 0);
  const readings = fields?.isLeaf
    ? confirmed(text, start, fields)
    : [...readingsFrom(text, start, fields, undefined, 0, fields !== undefined)];
  if (typeof readings === "string") return unresolved(readings);

  const [first, ...others] = readings.toSorted((a, b) => b.end - a.end);
  if (first === undefined)
    return unresolved("it names no district of the standard that can be distinguished from a street");
  const { leaf } = first;
  if (others.some((other) => other.leaf !== leaf)) return unresolved("several districts have this name");
  const street = text.slice(afterRepeats(text, first.end, leaf)).trim();
  const [houseNumber, rest] = splitStreet(street, maxHouseNumber);
  if (houseNumber === "") return unresolved("it names no street");
  return { state: "resolved", codes: codesOf(leaf), houseNumber, rest };
}

/**
 * One line of well-formed text: full-width digits and signs become plain ones; control characters and runs of blanks
 * become one blank.
 */
export const plainText = (text: string): string =>
  text
    .normalize("NFKC")
    .replace(/\p{Cs}/gu, "\ufffd")
    .replace(/[\p{Cc}\p{Zs}\p{Zl}\p{Zp}\u200b-\u200f\ufeff]+/gu, " ")
    .trim();

/** The first `max` characters (code points) of a text. */
export const firstCharacters = (text: string, max: number): string =>
  text.length <= max ? text : [...text].slice(0, max).join("");

const unresolved = (reason: string): ParsedAddress => ({ state: "unresolved", codes: undefined, reason });

function codesOf(leaf: Division): DivisionCodes {
  const codes: Record<string, string> = {};
  for (let each: Division | undefined = leaf; each; each = each.parent) codes[each.level] = each.code;
  const { province = "", city, district } = codes;
  return { province, ...(city === undefined ? {} : { city }), ...(district === undefined ? {} : { district }) };
}

/**
 * The smallest division that the fields name, undefined when they name none, or the reason when they contradict.
 */
function readFields(input: AddressInput): Division | undefined | string {
  let places: (Division | undefined)[] = [undefined];
  for (const level of ["province", "city", "district"] as const) {
    const field = plainText(input[level] ?? "");
    if (field === "") continue;
    const candidates = /^\d{6}$/.test(field)
      ? [divisionOf(field)].filter((each) => each !== undefined)
      : named(field).map(({ division }) => division);
    const within = places.flatMap((place) => candidates.filter((each) => fits(each, level, place)));
    if (within.length > 0) places = [...new Set(within)];
    else if (FILLER_FIELD.test(field)) continue;
    // An unknown district, such as 高新区, is ignored: the text decides. An unknown province or city means a
    // foreign or a wrong address.
    else if (level !== "district" || candidates.some((each) => each.level === "district"))
      return `the ${level} field names no ${level} that fits`;
  }
  // 北京市 is a province and its city: only the inner one is kept.
  const inner = places.filter((place) => !places.some((other) => other !== place && other && isWithin(other, place)));
  return inner.length > 1 ? "the fields fit several places" : inner[0];
}

/** The district field may contain a city, and the city field a county-level city. */
function fits(division: Division, field: Division["level"], place: Division | undefined): boolean {
  const isRepeat = place !== undefined && isWithin(place, division);
  if (field === "province") return division.level === "province";
  if (field === "city" && division.level === "province") return isRepeat;
  return isWithin(division, place) || isRepeat;
}

/** When the fields give the district, the text may repeat it, but must not name another. */
function confirmed(text: string, start: number, leaf: Division): Reading[] | string {
  const readings = [...readingsFrom(text, start, undefined, undefined, 0, false)];
  const same = readings.filter((reading) => reading.leaf === leaf);
  if (readings.length > 0 && same.length === 0) return "the fields and the text name different districts";
  return same.length > 0 ? same : [{ leaf, end: start, names: 0 }];
}

/**
 * Every way to read names from `at` on, each inside the one before it (or repeating it), down to a division with none
 * below.
 * @param place the smallest division known so far
 * @param last what the name before this was; a short one at the end counts only if the text after it supports it
 * @param isCertain whether a name above it was in a field or written in full
 */
function* readingsFrom(
  text: string,
  at: number,
  place: Division | undefined,
  last: { isShort: boolean; end: number } | undefined,
  names: number,
  isCertain: boolean,
): Generator<Reading> {
  if (place?.isLeaf && last && (!last.isShort || supports(text, last.end, place, names > 1 || isCertain)))
    yield { leaf: place, end: last.end, names };
  if (names === MAX_NAMES || place?.isLeaf) return;
  const from = endOf(FILLERS, text, endOf(SEPARATORS, text, at));
  const next = endOf(SEPARATORS, text, from);
  let hasFull = false;
  for (const { division, isShort, onlyAsField, end } of namedAt(text, next)) {
    // Longer names come first: in 临夏回族自治州, the short name 临夏 (of 临夏市) is not read.
    if (onlyAsField || (isShort && hasFull)) continue;
    const isInside = division !== place && isWithin(division, place);
    if (!isInside && !(place && isWithin(place, division))) continue;
    if (isInside && ANY_TOWNS.test(division.name) && (place === undefined || place.level !== "city")) continue;
    hasFull ||= !isShort;
    yield* readingsFrom(text, end, isInside ? division : place, { isShort, end }, names + 1, isCertain || !isShort);
  }
}

/** Whether the text after a short name makes it certain that the name is the division's. */
function supports(text: string, end: number, division: Division, hasPlaceAbove: boolean): boolean {
  const next = endOf(SEPARATORS, text, end);
  const after = text.slice(next, next + 20);
  if (ROAD_GOES_ON.test(after)) return false;
  if (TOWN.test(after)) return hasPlaceAbove || division.level === "city";
  return hasPlaceAbove && !BUILDING_GOES_ON.test(after) && (next > end || STREET.test(after));
}

/**
 * Skips repeated names, as in 浙江省杭州市西湖区浙江省杭州市文三路; a single one may begin the name of a hospital.
 */
function afterRepeats(text: string, end: number, leaf: Division): number {
  let skipped = end;
  for (let at = end, names = 1; names <= MAX_NAMES; names++) {
    const [again] = [...namedAt(text, endOf(SEPARATORS, text, at))].filter(({ division }) => isWithin(leaf, division));
    if (again === undefined) break;
    at = again.end;
    if (names > 1 && !again.isShort) skipped = at;
  }
  return endOf(SEPARATORS, text, skipped);
}

const DOOR =
  /(?:[0-9A-Za-z一二三四五六七八九十百零甲乙丙丁]{1,8}(?:[-~/][0-9A-Za-z]{1,8}){0,4} ?(?:号楼|号院|号|栋|幢|座|楼|层|单元|室|户|弄|巷|组|队|门|区|铺|档|柜|#)|\d{1,6}(?:-\d{1,6}){1,4})/gu;
/** Alternating parts: text, and the brackets, marks or blanks that end a street. */
const STREET_PARTS = /[^\s()[\]{}<>【】《》"'“”,，、。;；!！?？|]+|[\s()[\]{}<>【】《》"'“”,，、。;；!！?？|]+/gu;
const IS_MARK = /^[\s()[\]{}<>【】《》"'“”,，、。;；!！?？|]/u;
const OPENS = /[([{<【《]/u;
const PHONE = /(?<!\d)1[3-9]\d{9}(?!\d)/u;

/**
 * Splits a text into what a warehouse needs (street, number, building, door) and the rest. Everything up to the first
 * door number is needed; after it, only parts with a door number, and nothing after a bracket or a phone number.
 */
function splitStreet(street: string, max: number): [houseNumber: string, rest: string] {
  let end = 0;
  let at = 0;
  let hasDoor = false;
  for (const [part] of street.slice(0, max * STREET_LENGTHS).matchAll(STREET_PARTS)) {
    if (IS_MARK.test(part)) {
      if (hasDoor && OPENS.test(part)) break;
    } else {
      const door = part.search(DOOR) >= 0;
      if (PHONE.test(part) || (hasDoor && !door)) break;
      hasDoor ||= door;
      end = at + part.length;
    }
    at += part.length;
  }
  const whole = street.slice(0, end);
  const cut = firstCharacters(whole, max);
  if (cut === whole) return [whole, street.slice(end).trim()];
  // If too long, it ends at a door number, not in the middle of a name.
  const lastDoor = [...cut.matchAll(DOOR)].at(-1);
  const kept = lastDoor === undefined ? cut : cut.slice(0, lastDoor.index + lastDoor[0].length);
  return [kept, street.slice(kept.length).trim()];
}

/** The end of a sticky pattern's match at `at`; `at` when it does not match. */
function endOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}
