/**
 * Checks a value against a schema and states in sentences what is wrong, each with its JSON pointer: what was found,
 * what was expected, and for a misspelt name the nearest known one. All faults are found at once.
 */
import { Ajv, type ErrorObject } from "ajv";
import { escapedName, valueAt } from "./json-places.js";
import { SECRET_MARK } from "./secret-text.js";

export interface ConfigurationFault {
  /** JSON pointer in the file. */
  readonly pointer: string;
  /** The end of a sentence whose subject is the place. */
  readonly message: string;
}

/** A file with more faults is not the right file. */
const MAX_FAULTS = 100;
const SHOWN_LENGTH = 60;

const ajv = new Ajv({ allErrors: true, strict: false, verbose: true });

/**
 * @param pointer of the value in its file
 * @returns no fault: the value fits the schema
 */
export function schemaFaults(schema: object, value: unknown, pointer = ""): ConfigurationFault[] {
  const validate = ajv.compile(schema);
  if (validate(value)) return [];
  const faults = new Map<string, ConfigurationFault>();
  for (const error of validate.errors ?? []) {
    const fault = faultOf(error, value);
    if (fault === undefined) continue;
    const placed = { pointer: pointer + fault.pointer, message: fault.message };
    faults.set(`${placed.pointer} ${placed.message}`, placed);
    if (faults.size >= MAX_FAULTS) break;
  }
  return [...faults.values()];
}

function faultOf(error: ErrorObject, document: unknown): ConfigurationFault | undefined {
  const { keyword, params, instancePath: pointer, parentSchema } = error;
  const expected = (parentSchema as { description?: string } | undefined)?.description;
  // A secret that somebody wrote into the file is not shown.
  const isSecret = (parentSchema as Record<string, unknown> | undefined)?.[SECRET_MARK] === true;
  if (isSecret && keyword !== "additionalProperties") return { pointer, message: `must be ${expected}` };
  const found = shown(valueAt(document, pointer));
  switch (keyword) {
    case "required":
      return { pointer, message: `lacks the field "${params["missingProperty"]}"` };
    case "additionalProperties": {
      const name = params["additionalProperty"] as string;
      const known = Object.keys((parentSchema as { properties?: object } | undefined)?.properties ?? {});
      return {
        pointer: `${pointer}/${escapedName(name)}`,
        message: `is no field here; the fields are ${listed(known)}`,
      };
    }
    case "enum": {
      return { pointer, message: `is ${found}, and must be one of ${listed(params["allowedValues"] as string[])}` };
    }
    case "const":
      return { pointer, message: `is ${found}, and must be ${shown(params["allowedValue"])}` };
    // Their parts are reported, or the description is complete.
    case "anyOf":
    case "oneOf":
      return expected === undefined ? undefined : { pointer, message: `is ${found}, and must be ${expected}` };
    case "type":
      // An alternative of a union: the union is reported.
      if (/\/(anyOf|oneOf)\//.test(error.schemaPath)) return undefined;
      return { pointer, message: `is ${found}, and must be ${expected ?? kindName(params["type"] as string)}` };
    case "minProperties":
    case "maxProperties":
    case "minItems":
    case "maxItems": {
      const limit = `${keyword.startsWith("min") ? "at least" : "at most"} ${params["limit"]}`;
      const what = keyword.endsWith("Items") ? "entries" : "fields";
      return { pointer, message: expected === undefined ? `must have ${limit} ${what}` : `must be ${expected}` };
    }
    default:
      if (/\/(anyOf|oneOf)\//.test(error.schemaPath)) return undefined;
      return { pointer, message: `is ${found}, and ${expected === undefined ? error.message : `must be ${expected}`}` };
  }
}

const listed = (names: readonly string[]): string => names.join(", ");

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "missing";
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text;
}

const kindName = (type: string): string =>
  ({ string: "a text", object: "an object", array: "a list", integer: "a whole number" })[type] ?? `a ${type}`;
