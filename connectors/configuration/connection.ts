/**
 * Checks the part `connection` of an entry of a configuration file against the schema of its kind, and replaces its
 * references to secrets by their texts. Faults have JSON pointers of the whole file; none shows a secret. What a schema
 * cannot state is checked by the kind when it is opened.
 */
import { type ConfigurationFault, schemaFaults } from "./schema-faults.js";
import { resolveSecrets, type SecretLookup } from "./secrets.js";

interface CheckedConnection {
  readonly faults: readonly ConfigurationFault[];
  /** With the texts of secrets: not to be printed. Undefined where the shape has a fault. */
  readonly settings?: unknown;
  /** Texts that no log may show. */
  readonly texts: readonly string[];
}

/** @param pointer of the connection in its file */
export async function checkedConnection(
  schema: object,
  connection: unknown,
  pointer: string,
  lookup: SecretLookup,
): Promise<CheckedConnection> {
  const unsound = schemaFaults(schema, connection, pointer);
  if (unsound.length > 0) return { faults: unsound, texts: [] };
  const { settings, faults, texts } = await resolveSecrets(schema as Record<string, unknown>, connection, lookup);
  return {
    faults: faults.map(({ pointer: below, message }) => ({ pointer: pointer + below, message })),
    settings,
    texts,
  };
}
