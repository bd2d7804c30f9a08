/**
 * The schema of a mapping file, and its check. A mapping is data: it has columns and rules and no code, so an untrusted
 * one can be loaded safely. All faults are reported at once, each with the file and the JSON path; unknown fields are
 * refused, and the allowed ones named. Whether the columns exist is checked later, against each CSV file. A duplicate
 * field in the JSON is not detected: the last one counts.
 */
import { badInput } from "../../engine/kernel/errors.js";
import { INTENTS, type Intent } from "../../engine/replay/history.js";

/** How a rule reads the units column. */
const UNIT_SIGNS = ["as is", "negated", "absolute"] as const;
export type UnitSign = (typeof UNIT_SIGNS)[number];

/** A test of one column; has exactly one of the tests. */
export interface ColumnCondition {
  column: string;
  startsWith?: string | string[];
  notStartsWith?: string | string[];
  equals?: string;
  oneOf?: string[];
  /**
   * A whole-field pattern: `?` is one character, `#` one digit, `*` any run of characters, `\` makes the next one
   * literal.
   */
  matches?: string;
  ">"?: number;
  "<"?: number;
  ">="?: number;
  "<="?: number;
  empty?: true;
  notEmpty?: true;
}
export type Condition = { all: Condition[] } | { any: Condition[] } | ColumnCondition;

/** Rules are tried in order; the first whose condition is true applies. */
export type Rule =
  | { when: Condition | "always"; then: Intent; units: UnitSign; reason: string | undefined }
  | { when: Condition | "always"; then: "reject"; reason: string };

/** A checked mapping. */
export interface Mapping {
  name: string;
  /** Channel code of the chain ids, 2 characters of 0-9 A-Z. */
  channel: string;
  columns: {
    time: string;
    sku: string;
    units: string;
    location: string | undefined;
    /** Columns that together name an order line at its source; empty when the source has none. */
    reference: string[];
  };
  /** `iso`, or the format of a time without zone. */
  time: string;
  /** The location of every row when no column names it. */
  location: string;
  rules: Rule[];
}

const DEFAULT_LOCATION = "main";
/** Names and codes that people type; far above any real one. */
const MAX_NAME_LENGTH = 64;
/** A row may be tested against every rule: 1,000 of them cost about 20 µs a row. */
const MAX_RULES = 1_000;
/** Bounds the recursion over `all` and `any`. */
const MAX_CONDITION_DEPTH = 8;
/** Limits the steps of one match to a field's length × this. */
const MAX_PATTERN_LENGTH = 100;
/** Parts of a time format; a single letter takes one or two digits. */
export const TIME_PARTS = ["yyyy", "MM", "M", "dd", "d", "HH", "H", "mm", "ss", "SSS"] as const;

/**
 * Splits a time format into its parts and single characters; a letter that is no part is returned alone. `T` is a
 * separator, as between date and time of day.
 */
export const timeParts = (format: string): string[] => format.match(/yyyy|MM|M|dd|d|HH|H|mm|ss|SSS|[\s\S]/g) ?? [];

const TESTS = [
  "startsWith",
  "notStartsWith",
  "equals",
  "oneOf",
  "matches",
  ">",
  "<",
  ">=",
  "<=",
  "empty",
  "notEmpty",
] as const;
export type TestName = (typeof TESTS)[number];

/** Intents about a line that an earlier row has reserved. */
export const FOLLOWING_INTENTS: readonly Intent[] = ["pay", "cancel", "outbound"];
/** Intents whose events need a reason. */
const REASONED: readonly string[] = ["receive", "return", "correct", "reject"];

type JsonObject = Record<string, unknown>;

const CONTROL_CHARACTER = /\p{Cc}/u;

/** Why a SKU or location cannot be used, or undefined when it can. */
export function nameFault(name: string): string | undefined {
  if (name === "") return "is empty";
  if (name.length > MAX_NAME_LENGTH) return `is longer than ${MAX_NAME_LENGTH} characters`;
  return CONTROL_CHARACTER.test(name) ? "has a control character" : undefined;
}

/**
 * Checks a mapping that was read from JSON.
 * @param json as JSON.parse gave it
 * @param file named in errors
 * @throws EngineError (`bad_input`) with all faults; its `input` names the first
 */
export function checkMapping(json: unknown, file: string): Mapping {
  const checker = new Checker();
  const mapping = checker.mapping(json);
  const [first, ...others] = checker.faults;
  if (first) {
    const more = others.map(({ path, message }) => `; ${path}: ${message}`).join("");
    throw badInput("csv.mapping", `${file} ${first.path}`, first.message + more);
  }
  return mapping;
}

class Checker {
  readonly faults: { path: string; message: string }[] = [];

  mapping(json: unknown): Mapping {
    const fields = this.#object(
      json,
      "$",
      ["name", "channel", "columns", "time", "rules"],
      ["description", "location"],
    );
    const name = this.#text(fields["name"], "$.name");
    if (name !== "" && !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) {
      this.#fault("$.name", "is not in kebab-case (a-z, 0-9, single hyphens)");
    }
    const channel = this.#text(fields["channel"], "$.channel");
    if (channel !== "" && !/^[0-9A-Z]{2}$/.test(channel)) this.#fault("$.channel", "is not 2 characters of 0-9 A-Z");
    if (fields["description"] !== undefined) this.#text(fields["description"], "$.description", 1_000);

    const columns = this.#object(fields["columns"], "$.columns", ["time", "sku", "units"], ["location", "reference"]);
    const column = (key: string) => this.#text(columns[key], `$.columns.${key}`, 1_000);
    const location = columns["location"] === undefined ? undefined : column("location");
    const reference = columns["reference"];
    const references = reference === undefined ? [] : this.#texts(reference, "$.columns.reference", true);

    if (location !== undefined && fields["location"] !== undefined) {
      this.#fault("$.location", "excludes $.columns.location; give a column or a constant");
    }
    const constant = fields["location"] === undefined ? DEFAULT_LOCATION : this.#text(fields["location"], "$.location");
    const constantFault = constant === "" ? undefined : nameFault(constant);
    if (constantFault) this.#fault("$.location", constantFault);

    const time = this.#text(fields["time"], "$.time");
    if (time !== "" && time !== "iso") this.#timeFormat(time);

    const rules = this.#list(fields["rules"], "$.rules").map((rule, index) => this.#rule(rule, `$.rules[${index}]`));
    if (rules.length > MAX_RULES) this.#fault("$.rules", `has ${rules.length} rules; ${MAX_RULES} are allowed`);
    if (references.length === 0) {
      const joined: readonly string[] = ["reserve", ...FOLLOWING_INTENTS];
      for (const [index, { then }] of rules.entries()) {
        if (!joined.includes(then)) continue;
        this.#fault(
          `$.rules[${index}].then`,
          `"${then}" needs $.columns.reference, which joins the rows of an order line`,
        );
      }
    }
    return {
      name,
      channel,
      columns: { time: column("time"), sku: column("sku"), units: column("units"), location, reference: references },
      time,
      location: constant,
      rules,
    };
  }

  #rule(json: unknown, path: string): Rule {
    const fields = this.#object(json, path, ["when", "then"], ["units", "reason"]);
    const when = fields["when"];
    const condition = when === undefined || when === "always" ? "always" : this.#condition(when, `${path}.when`, 1);
    const thenAllowed = [...INTENTS, "reject"] as const;
    const then = this.#oneOf(fields["then"], thenAllowed, `${path}.then`);
    const reason = fields["reason"] === undefined ? undefined : this.#text(fields["reason"], `${path}.reason`, 200);
    if (reason === undefined && REASONED.includes(then))
      this.#fault(`${path}.reason`, `is missing; "${then}" needs a reason`);
    if (then === "reject") {
      if (fields["units"] !== undefined) this.#fault(`${path}.units`, 'has no meaning beside "then": "reject"');
      return { when: condition, then, reason: reason ?? "" };
    }
    const units = fields["units"] === undefined ? "as is" : this.#oneOf(fields["units"], UNIT_SIGNS, `${path}.units`);
    return { when: condition, then, units, reason };
  }

  #condition(json: unknown, path: string, depth: number): Condition {
    const nothing: Condition = { all: [] };
    if (depth > MAX_CONDITION_DEPTH) {
      this.#fault(path, `is nested deeper than ${MAX_CONDITION_DEPTH} levels`);
      return nothing;
    }
    if (isObject(json)) {
      for (const key of ["all", "any"] as const) {
        if (!Object.hasOwn(json, key)) continue;
        const fields = this.#object(json, path, [key], []);
        const list = this.#list(fields[key], `${path}.${key}`);
        const conditions = list.map((part, index) => this.#condition(part, `${path}.${key}[${index}]`, depth + 1));
        return key === "all" ? { all: conditions } : { any: conditions };
      }
      if (!Object.hasOwn(json, "column")) {
        const keys = Object.keys(json).map((key) => JSON.stringify(key));
        this.#fault(
          path,
          `needs one of "all", "any" and "column"${keys.length > 0 ? `; it has ${keys.join(", ")}` : ""}`,
        );
        return nothing;
      }
    }
    const fields = this.#object(json, path, ["column"], TESTS);
    const present = TESTS.filter((test) => fields[test] !== undefined);
    const [test] = present;
    if (isObject(json) && present.length !== 1) {
      const has = present.length === 0 ? "none" : present.join(", ");
      this.#fault(path, `needs exactly one test, and has ${has}; the tests are ${TESTS.join(", ")}`);
    }
    const condition: ColumnCondition = {
      column: isObject(json) ? this.#text(fields["column"], `${path}.column`, 1_000) : "",
    };
    if (test)
      Object.assign(condition, { [test]: this.#operand(test, fields[test], `${path}[${JSON.stringify(test)}]`) });
    return condition;
  }

  #operand(test: TestName, value: unknown, path: string): unknown {
    switch (test) {
      case "startsWith":
      case "notStartsWith":
        return this.#texts(value, path, true);
      case "oneOf":
        return this.#texts(value, path, false);
      case "equals":
        if (typeof value !== "string") this.#fault(path, `is ${kindOf(value)}, and must be a text`);
        return value;
      case "matches": {
        const pattern = this.#text(value, path, MAX_PATTERN_LENGTH);
        if (/(^|[^\\])(\\\\)*\\$/.test(pattern))
          this.#fault(path, "ends with a backslash; nothing follows that it could make literal");
        return pattern;
      }
      case "empty":
      case "notEmpty":
        if (value !== true) this.#fault(path, "can only be true");
        return value;
      default:
        if (typeof value !== "number") this.#fault(path, `is ${kindOf(value)}, and must be a number`);
        return value;
    }
  }

  #timeFormat(format: string): void {
    const parts = timeParts(format);
    const allowed: readonly string[] = TIME_PARTS;
    const unknown = parts.filter((part) => /[A-Za-z0-9]/.test(part) && part !== "T" && !allowed.includes(part));
    if (unknown.length > 0) {
      const what = `write "iso", or a format of ${TIME_PARTS.join(", ")} with separators between them`;
      this.#fault("$.time", `has ${unknown.join(", ")}; ${what}`);
      return;
    }
    for (const kinds of [["yyyy"], ["MM", "M"], ["dd", "d"], ["HH", "H"], ["mm"], ["ss"], ["SSS"]]) {
      const times = parts.filter((part) => kinds.includes(part)).length;
      if (times > 1) this.#fault("$.time", `has ${kinds.join(" or ")} more than once`);
      const needed = kinds[0] === "yyyy" || kinds[0] === "MM" || kinds[0] === "dd";
      if (needed && times === 0) this.#fault("$.time", `lacks ${kinds.join(" or ")}`);
    }
  }

  #object(json: unknown, path: string, required: readonly string[], optional: readonly string[]): JsonObject {
    if (!isObject(json)) {
      // An absent field has been reported by the object that lacks it.
      if (json !== undefined) this.#fault(path, `is ${kindOf(json)}, and must be an object`);
      return {};
    }
    const allowed = [...required, ...optional];
    for (const key of Object.keys(json)) {
      if (allowed.includes(key)) continue;
      this.#fault(path, `has the unknown field ${JSON.stringify(key)}; allowed are ${allowed.join(", ")}`);
    }
    for (const key of required) if (json[key] === undefined) this.#fault(path, `lacks the field "${key}"`);
    return json;
  }

  #list(json: unknown, path: string): unknown[] {
    if (Array.isArray(json) && json.length > 0) return json;
    if (json !== undefined)
      this.#fault(path, Array.isArray(json) ? "is empty" : `is ${kindOf(json)}, and must be a list`);
    return [];
  }

  #text(json: unknown, path: string, maxLength = MAX_NAME_LENGTH): string {
    if (typeof json === "string" && json !== "" && json.length <= maxLength) return json;
    if (json === "") this.#fault(path, "is empty");
    else if (typeof json === "string") this.#fault(path, `is longer than ${maxLength} characters`);
    else if (json !== undefined) this.#fault(path, `is ${kindOf(json)}, and must be a text`);
    return "";
  }

  /** A list of texts, or one text for a list of one. */
  #texts(json: unknown, path: string, allowOne: boolean): string[] {
    if (allowOne && typeof json === "string") return [this.#text(json, path, 1_000)];
    return this.#list(json, path).map((item, index) => this.#text(item ?? null, `${path}[${index}]`, 1_000));
  }

  #oneOf<T extends string>(json: unknown, allowed: readonly [T, ...T[]] | readonly T[], path: string): T {
    const found = allowed.find((item) => item === json);
    if (found !== undefined) return found;
    if (json !== undefined) this.#fault(path, `is ${JSON.stringify(json)}; allowed are ${allowed.join(", ")}`);
    return allowed[0] as T;
  }

  #fault(path: string, message: string): void {
    this.faults.push({ path, message });
  }
}

const isObject = (json: unknown): json is JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json);

function kindOf(json: unknown): string {
  if (json === null) return "null";
  if (Array.isArray(json)) return "a list";
  return typeof json === "object" ? "an object" : `the ${typeof json} ${JSON.stringify(json)}`;
}
