/**
 * Says in words what a validator found, and where: `lines[2].units must be a whole number`. One fault a field, in the
 * order found. Texts that come from the client are cut short and never echoed but for the names of unknown fields.
 */

/** Faults told of one request at most. */
export const MAX_FAULTS = 20;
const NAME_LIMIT = 64;

export interface InputFault {
  /** The place, for example `lines[2].units` or `line 17: units`; empty for the body as a whole. */
  field: string;
  message: string;
}

/** As Ajv (with `verbose`) and Fastify hand it over. */
interface ValidatorError {
  keyword: string;
  instancePath: string;
  params: Record<string, unknown>;
  message?: string;
  parentSchema?: { description?: string };
}

const TYPES: Record<string, string> = {
  integer: "a whole number",
  number: "a number",
  string: "a text",
  array: "a list",
  object: "an object",
  boolean: "true or false",
};

/** The faults of a validator's errors, each field once. */
export function faultsOf(errors: readonly unknown[]): InputFault[] {
  const faults = new Map<string, InputFault>();
  for (const each of errors) {
    const error = each as ValidatorError;
    const field = fieldOf(error);
    if (!faults.has(field)) faults.set(field, { field, message: messageOf(error) });
  }
  return [...faults.values()];
}

/** A text without lone surrogates. */
export const wellFormed = (text: string): string => text.replace(/\p{Cs}/gu, "\ufffd");

/** A path of names and positions as a reader writes it. */
export function pathText(path: readonly (string | number)[]): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else text += (text === "" ? "" : ".") + (step.length > NAME_LIMIT ? `${step.slice(0, NAME_LIMIT)}…` : step);
  }
  // A cut may have split a surrogate pair.
  return wellFormed(text);
}

function fieldOf({ instancePath, keyword, params }: ValidatorError): string {
  const path = instancePath
    .split("/")
    .slice(1)
    .map((step) => (/^\d+$/.test(step) ? Number(step) : step.replaceAll("~1", "/").replaceAll("~0", "~")));
  if (keyword === "required") path.push(String(params["missingProperty"]));
  if (keyword === "additionalProperties") path.push(String(params["additionalProperty"]));
  return pathText(path);
}

function messageOf({ keyword, params, message, parentSchema }: ValidatorError): string {
  const limit = params["limit"];
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
    case "minLength":
    case "maxLength":
    case "pattern":
      return `must be ${parentSchema?.description ?? "a text of another form"}`;
    case "enum":
      return `must be one of ${(params["allowedValues"] as unknown[]).join(", ")}`;
    case "const":
      return `must be ${String(params["allowedValue"])}`;
    case "not":
      return "must not be 0";
    default:
      return message ?? "is at fault";
  }
}
