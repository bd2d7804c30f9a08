/**
 * Replaces the references to secrets in a connection's settings by their texts. A reference names a variable of the
 * environment or a file; the configuration never has the text. Faults name the reference and its place, never what was
 * read. Texts are read when the configuration is read, so a changed file is used from the next start on.
 */
import { readFile } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { escapedName } from "./json-places.js";
import { SECRET_MARK } from "./secret-text.js";

/** How secrets are found. */
export interface SecretLookup {
  /** A variable of the environment. */
  env(name: string): string | undefined;
  /** Of relative paths: the folder of the configuration file. */
  readonly folder: string;
}

export interface SecretFault {
  /** JSON pointer from the connection on. */
  readonly pointer: string;
  readonly message: string;
}

export interface ResolvedSecrets {
  /** A copy of the settings with texts in place of references. */
  readonly settings: unknown;
  readonly faults: readonly SecretFault[];
  /** Every text, so that logs can leave it out. */
  readonly texts: readonly string[];
}

/** A key or token; a longer file is not one. */
const MAX_SECRET_BYTES = 16 * 1024;

type Schema = Readonly<Record<string, unknown>>;

/**
 * @param schema of the settings; marks the secrets
 * @param settings checked against the schema
 */
export async function resolveSecrets(
  schema: Schema,
  settings: unknown,
  lookup: SecretLookup,
): Promise<ResolvedSecrets> {
  const faults: SecretFault[] = [];
  const texts: string[] = [];
  const resolve = async (part: Schema, value: unknown, pointer: string): Promise<unknown> => {
    if (part[SECRET_MARK] === true) {
      const found = await textOf(value as { env?: string; file?: string }, lookup);
      if ("message" in found) faults.push({ pointer, message: found.message });
      else texts.push(found.text);
      return "text" in found ? found.text : "";
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const entries = await Promise.all(
      Object.entries(value).map(async ([name, each]) => {
        const under = memberOf(part, name, value as Record<string, unknown>);
        return [
          name,
          under === undefined ? each : await resolve(under, each, `${pointer}/${escapedName(name)}`),
        ] as const;
      }),
    );
    return Object.fromEntries(entries);
  };
  return { settings: await resolve(schema, settings, ""), faults, texts };
}

/** The schema of a member; of a union, that of the alternative whose constant fields are the value's. */
function memberOf(schema: Schema, name: string, value: Readonly<Record<string, unknown>>): Schema | undefined {
  const alternatives = (schema["anyOf"] ?? schema["oneOf"]) as readonly Schema[] | undefined;
  const fitting = alternatives?.find(({ properties }) =>
    Object.entries((properties ?? {}) as Record<string, Schema>).every(
      ([field, { const: constant }]) => constant === undefined || value[field] === constant,
    ),
  );
  const { properties } = fitting ?? schema;
  return (properties as Record<string, Schema> | undefined)?.[name];
}

async function textOf(
  { env, file }: { env?: string; file?: string },
  lookup: SecretLookup,
): Promise<{ text: string } | { message: string }> {
  if (env !== undefined) {
    const text = lookup.env(env);
    return text === undefined || text === "" ? { message: `the variable ${env} is not set` } : { text };
  }
  const path = isAbsolute(file as string) ? (file as string) : join(lookup.folder, file as string);
  try {
    const bytes = await readFile(path);
    if (bytes.length > MAX_SECRET_BYTES)
      return { message: `the file ${path} has ${bytes.length} bytes; a secret has ${MAX_SECRET_BYTES} at most` };
    // Editors end a file with a line feed.
    const text = bytes.toString("utf8").replace(/\r?\n$/, "");
    return text === "" ? { message: `the file ${path} is empty` } : { text };
  } catch (thrown) {
    return { message: `the file ${path} cannot be read (${(thrown as NodeJS.ErrnoException).code ?? "unknown"})` };
  }
}
