/**
 * Turns a validator's errors into sentences with their place: `lines[2].units must be a whole number`. One fault for
 * each field, in the order found. No text of the client is repeated, except the names of unknown fields, shortened.
 */

/** Faults reported for one request at most. */
export const MAX_FAULTS = 20;
const NAME_LIMIT = 64;

export interface InputFault {
  /** The place, for example `lines[2].units` or `line 17: units`; empty for the whole body. */
  field: string;
  message: string;
}

/** The error format of Ajv (with `verbose`) and Fastify. */
interface ValidatorError {
  keyword: string;
  instancePath: string;
  params: Record<string, unknown>;
  message?: string;
  parentSchema?: { description?: string };
  /** The name that `propertyNames` refuses. */
  propertyName?: string;
}

const TYPES: Record<string, string> = {
  integer: "a whole number",
  number: "a number",
  string: "a text",
  array: "a list",
  object: "an object",
  boolean: "true or false",
};

/** The faults of a validator's errors, one for each field. */
export function faultsOf(errors: readonly unknown[]): InputFault[] {
  const faults = new Map<string, InputFault>();
  for (const each of errors) {
    const error = each as ValidatorError;
    const field = fieldOf(error);
    // It comes after the faults of its branches, each of which reports a part.
    const isChoice = error.keyword === "anyOf" && error.parentSchema?.description !== undefined;
    if (!faults.has(field) || isChoice) faults.set(field, { field, message: messageOf(error) });
  }
  return [...faults.values()];
}

/** A text without lone surrogates. */
const wellFormed = (text: string): string => text.replace(/\p{Cs}/gu, "\ufffd");

/** A path of names and indexes as text. */
export function pathText(path: readonly (string | number)[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += (text === "" ? "" : ".") + (part.length > NAME_LIMIT ? `${part.slice(0, NAME_LIMIT)}…` : part);
  }
  // A cut may have split a surrogate pair.
  return wellFormed(text);
}

function fieldOf({ instancePath, keyword, params, propertyName }: ValidatorError): string {
  const path = instancePath
    .split("/")
    .slice(1)
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part.replaceAll("~1", "/").replaceAll("~0", "~")));
  if (keyword === "required") path.push(String(params["missingProperty"]));
  if (keyword === "additionalProperties") path.push(String(params["additionalProperty"]));
  if (propertyName !== undefined) path.push(propertyName);
  else if (keyword === "propertyNames") path.push(String(params["propertyName"]));
  return pathText(path);
}

function messageOf({ keyword, params, message, parentSchema, propertyName }: ValidatorError): string {
  const limit = params["limit"];
  if (propertyName !== undefined) return `has a name that is not ${parentSchema?.description ?? "allowed"}`;
  switch (keyword) {
    case "required":
      return "is missing";
    case "additionalProperties":
      return "is not a known field";
    case "type":
      return `must be ${TYPES[String(params["type"])] ?? String(params["type"])}`;
    case "minimum":
      return `must be at least ${limit}`;
    case "maximum":
      return `must be at most ${limit}`;
    case "exclusiveMinimum":
      return `must be above ${limit}`;
    case "minItems":
      return `must have at least ${limit} entry`;
    case "maxItems":
      return `must have at most ${limit} entries`;
    case "minProperties":
      return "must set at least one option";
    case "maxProperties":
      return `must have at most ${limit} values`;
    case "minLength":
    case "maxLength":
    case "pattern":
    case "anyOf":
      return `must be ${parentSchema?.description ?? "a text of another format"}`;
    case "enum":
      return `must be one of ${(params["allowedValues"] as unknown[]).join(", ")}`;
    case "const":
      return `must be ${String(params["allowedValue"])}`;
    case "not":
      return "must not be 0";
    default:
      return message ?? "is invalid";
  }
}
