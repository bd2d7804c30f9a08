/**
 * The conditions of a mapping's rules, compiled to closures over column positions. A condition costs a row at most
 * its own size times the length of the fields that it reads, whatever the pattern. A compared field that is not a
 * number sets a reason in the caller's NumberFault, and the result is then ignored. Conditions are validated before
 * (mapping.schema.ts).
 */
import { parseNumber, quote } from "./fields.js";
import type { ColumnCondition, Condition, TestName } from "./mapping.schema.js";

/** Set when a compared field is not a number; the row is then rejected. */
export interface NumberFault {
  reason: string | undefined;
}
export type Test = (fields: readonly string[]) => boolean;

/** Compiles a condition to a test of a row's fields, whose columns are looked up once, here. */
export function compileCondition(
  condition: Condition,
  positions: (column: string) => number,
  numbers: NumberFault,
): Test {
  if ("all" in condition) {
    const tests = condition.all.map((part) => compileCondition(part, positions, numbers));
    return (fields) => {
      for (const test of tests) if (!test(fields)) return false;
      return true;
    };
  }
  if ("any" in condition) {
    const tests = condition.any.map((part) => compileCondition(part, positions, numbers));
    // After a fault the result is ignored, and no later part may change it.
    return (fields) => {
      for (const test of tests) if (test(fields) || numbers.reason !== undefined) return true;
      return false;
    };
  }
  const at = positions(condition.column);
  const test = compileTest(condition, numbers);
  return (fields) => test(fields[at] as string);
}

function compileTest(condition: ColumnCondition, numbers: NumberFault): (field: string) => boolean {
  const name = Object.keys(condition).find((key) => key !== "column") as TestName;
  const compare = (holds: (value: number, limit: number) => boolean): ((field: string) => boolean) => {
    const limit = condition[name] as number;
    return (field) => {
      const value = parseNumber(field);
      if (!Number.isNaN(value)) return holds(value, limit);
      numbers.reason = `${condition.column} is not a number: ${quote(field)}`;
      return false;
    };
  };
  const starts = (): ((field: string) => boolean) => {
    const prefixes = condition[name] as string[];
    return (field) => prefixes.some((prefix) => field.startsWith(prefix));
  };
  switch (name) {
    case "startsWith":
      return starts();
    case "notStartsWith": {
      const test = starts();
      return (field) => !test(field);
    }
    case "equals":
      return (field) => field === condition.equals;
    case "oneOf": {
      const values = new Set(condition.oneOf);
      return (field) => values.has(field);
    }
    case "matches":
      return patternTest(condition.matches as string);
    case ">":
      return compare((value, limit) => value > limit);
    case "<":
      return compare((value, limit) => value < limit);
    case ">=":
      return compare((value, limit) => value >= limit);
    case "<=":
      return compare((value, limit) => value <= limit);
    case "empty":
      return (field) => field === "";
    case "notEmpty":
      return (field) => field !== "";
  }
}

const ANY_RUN = -1;
const ANY_ONE = -2;
const ANY_DIGIT = -3;

/** A whole-field match in at most field × pattern steps: of several `*` only the last is retried. */
function patternTest(pattern: string): (field: string) => boolean {
  const marks: number[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const sign = pattern.charAt(i);
    if (sign === "\\") marks.push(pattern.charCodeAt(++i));
    else marks.push(sign === "*" ? ANY_RUN : sign === "?" ? ANY_ONE : sign === "#" ? ANY_DIGIT : pattern.charCodeAt(i));
  }
  const fits = (mark: number | undefined, unit: number) =>
    mark === unit || mark === ANY_ONE || (mark === ANY_DIGIT && unit >= 0x30 && unit <= 0x39);
  return (field) => {
    let at = 0;
    let markAt = 0;
    let runAt = -1;
    let runFrom = 0;
    while (at < field.length) {
      if (marks[markAt] === ANY_RUN) {
        runAt = markAt++;
        runFrom = at;
      } else if (fits(marks[markAt], field.charCodeAt(at))) {
        at++;
        markAt++;
      } else if (runAt !== -1) {
        markAt = runAt + 1;
        at = ++runFrom;
      } else return false;
    }
    while (marks[markAt] === ANY_RUN) markAt++;
    return markAt === marks.length;
  };
}
