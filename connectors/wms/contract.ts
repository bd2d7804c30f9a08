/**
 * Contracts of the WMS's interfaces (R23): JSON Schemas (2020-12) of payloads, and a check that reports every field
 * that is redundant, missing, of the wrong type or too large, with the bytes that it costs. A contract is a file: a
 * built-in one by its name, or another one by its path. A contract file is trusted like code: an expensive pattern
 * makes every check expensive. Remote references are not loaded.
 */
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { Ajv2020, type ErrorObject } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { badInput, messageOf } from "../../engine/kernel/errors.js";

const OP = "wms.contract";
const BUILT_IN = new URL("./contracts/", import.meta.url);
const SUFFIX = ".schema.json";

/**
 * redundant: a field that the contract does not know. missing: one that it needs. mistyped: of another JSON type.
 * oversized: longer, more or greater than allowed, or a text in a redundant field that is longer than any the
 * contract allows. invalid: anything else.
 */
const FINDING_KINDS = ["redundant", "missing", "mistyped", "oversized", "invalid"] as const;
export type FindingKind = (typeof FINDING_KINDS)[number];

export interface Finding {
  /** Where in the payload, such as `lines[2].sku`; empty for the payload itself. */
  path: string;
  kind: FindingKind;
  /**
   * Bytes of UTF-8 JSON that need not have gone: all of a redundant field with its name, what is above the limit of
   * an oversized one; 0 for the other kinds, and for a text whose whole field is redundant already.
   */
  bytes: number;
  /** Of an oversized text, or the longest text in a redundant field: its length in characters (code points). */
  characters: number | undefined;
  /** What the contract says, such as `must NOT have more than 80 characters`. */
  rule: string;
}

export interface Contract {
  readonly name: string;
  /** Characters of the longest text that it allows; undefined when it does not bound them. */
  readonly longestText: number | undefined;
  /**
   * Everything that does not fit; empty when the payload does. A payload is what JSON.parse gives.
   * @throws RangeError when the payload is nested too deeply for the machine's stack
   */
  check(payload: unknown): Finding[];
}

type Schema = Readonly<Record<string, unknown>>;

/** The names of the contracts that come with the product. */
export async function contractNames(): Promise<string[]> {
  const files = await readdir(BUILT_IN);
  return files
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => file.slice(0, -SUFFIX.length))
    .toSorted();
}

/**
 * Loads a contract.
 * @param nameOrFile a built-in contract's name, or the path of a JSON Schema
 * @throws EngineError (`bad_input`) when there is no such contract, or the file is no schema
 */
export async function loadContract(nameOrFile: string): Promise<Contract> {
  const names = await contractNames();
  const isBuiltIn = names.includes(nameOrFile);
  const path = isBuiltIn ? fileURLToPath(new URL(nameOrFile + SUFFIX, BUILT_IN)) : nameOrFile;
  let text: string;
  try {
    text = (await readFile(path, "utf8")).replace(/^\ufeff/, "");
  } catch (thrown) {
    const known = names.join(", ");
    throw badInput(OP, nameOrFile, `is neither a built-in contract (${known}) nor a file that can be read`, thrown);
  }
  let schema: unknown;
  try {
    schema = JSON.parse(text);
  } catch (thrown) {
    throw badInput(OP, path, `is not JSON: ${messageOf(thrown)}`, thrown);
  }
  return compileContract(schema, nameOrFile);
}

/**
 * Compiles a contract from its schema.
 * @throws EngineError (`bad_input`) naming what is wrong with the schema
 */
export function compileContract(json: unknown, name: string): Contract {
  if (!isObject(json)) throw badInput(OP, name, "is not a JSON Schema: it must be an object");
  const ajv = new Ajv2020({ allErrors: true, verbose: true, strictTypes: false, strictRequired: false });
  formats.default(ajv);
  let validate: ReturnType<typeof ajv.compile>;
  try {
    validate = ajv.compile(json);
  } catch (thrown) {
    throw badInput(OP, name, `is not a valid JSON Schema: ${messageOf(thrown)}`, thrown);
  }
  const longestText = longestTextOf(json);
  return {
    name,
    longestText,
    check: (payload) => (validate(payload) ? [] : findingsOf(validate.errors ?? [], longestText)),
  };
}

function findingsOf(errors: readonly ErrorObject[], longestText: number | undefined): Finding[] {
  const findings = new Map<string, Finding>();
  for (const error of errors) {
    // "must match then": the part that does not match has its own error.
    if (error.keyword === "if") continue;
    for (const finding of findingOf(error, longestText)) {
      const id = `${finding.kind} ${finding.path}`;
      if (!findings.has(id)) findings.set(id, finding);
    }
  }
  return [...findings.values()];
}

function findingOf(error: ErrorObject, longestText: number | undefined): Finding[] {
  const path = pathOf(error.instancePath);
  const { data, params } = error;
  const rule = error.message ?? error.keyword;
  const finding = (kind: FindingKind, more: Partial<Finding> = {}): Finding[] => [
    { path, kind, bytes: 0, characters: undefined, rule, ...more },
  ];
  switch (error.keyword) {
    case "additionalProperties":
    case "unevaluatedProperties": {
      const key: string = params["additionalProperty"] ?? params["unevaluatedProperty"];
      return redundant(pathTo(path, key), key, (data as Record<string, unknown>)[key], longestText);
    }
    case "required":
    case "dependentRequired":
      return finding("missing", { path: pathTo(path, params["missingProperty"]) });
    case "type":
      return finding("mistyped");
    case "maxLength": {
      const characters = [...(data as string)];
      const above = characters.slice(params["limit"]).join("");
      return finding("oversized", { bytes: bytesOf(above) - '""'.length, characters: characters.length });
    }
    case "maxItems": {
      const above: unknown[] = (data as unknown[]).slice(params["limit"]);
      return finding("oversized", { bytes: above.reduce<number>((sum, item) => sum + bytesOf(item) + ",".length, 0) });
    }
    case "maxProperties":
    case "maximum":
    case "exclusiveMaximum":
      return finding("oversized");
    // A field of which the contract says under some condition that it must not be there.
    case "false schema":
      return finding("redundant", {
        bytes: fieldBytes(error.instancePath.slice(error.instancePath.lastIndexOf("/") + 1), data),
        rule: "must not be there beside the others",
      });
    default:
      return finding("invalid");
  }
}

/** A field that the contract does not know, and each text in it that is longer than any the contract allows. */
function redundant(path: string, key: string, value: unknown, longestText: number | undefined): Finding[] {
  const texts = [...textsIn(value, path)].map((text) => ({ ...text, characters: lengthOf(text.value) }));
  const longest = texts.length > 0 ? texts.reduce((max, { characters }) => Math.max(max, characters), 0) : undefined;
  const oversized =
    longestText === undefined
      ? []
      : texts
          .filter(({ characters }) => characters > longestText)
          .map(
            (text): Finding => ({
              path: text.path,
              kind: "oversized",
              bytes: 0,
              characters: text.characters,
              rule: `no text of this contract has more than ${longestText} characters`,
            }),
          );
  return [
    {
      path,
      kind: "redundant",
      bytes: fieldBytes(key, value),
      characters: longest,
      rule: "is not a field of the contract",
    },
    ...oversized,
  ];
}

function* textsIn(value: unknown, path: string): Generator<{ path: string; value: string }> {
  if (typeof value === "string") yield { path, value };
  else if (Array.isArray(value)) for (const [i, item] of value.entries()) yield* textsIn(item, `${path}[${i}]`);
  else if (isObject(value)) for (const [key, item] of Object.entries(value)) yield* textsIn(item, pathTo(path, key));
}

/** From a JSON pointer; `lines/0/sku` becomes `lines[0].sku`. */
const pathOf = (pointer: string): string =>
  pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : pathTo(path, part)), "");

const pathTo = (path: string, key: string): string => {
  const name = /^[\p{L}_$][\p{L}\p{N}_$-]*$/u.test(key) ? key : quoted(key);
  return path === "" ? name : `${path}.${name}`;
};

/** A field may have any name; control characters of a terminal are escaped. */
const quoted = (key: string): string =>
  JSON.stringify(key).replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (sign) => `\\u${(sign.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
  );

const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value) ?? "");

/** Of a field with its name and a comma. */
const fieldBytes = (key: string, value: unknown): number => bytesOf(key) + ":".length + bytesOf(value) + ",".length;

const lengthOf = (text: string): number => {
  let characters = 0;
  for (const _ of text) characters++;
  return characters;
};

const isObject = (json: unknown): json is Schema => typeof json === "object" && json !== null && !Array.isArray(json);

function longestTextOf(schema: unknown): number | undefined {
  let longest: number | undefined;
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      if (key === "maxLength" && typeof inner === "number") longest = Math.max(longest ?? 0, inner);
      else visit(inner);
    }
  };
  visit(schema);
  return longest;
}
