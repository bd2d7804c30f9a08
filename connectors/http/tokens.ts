/**
 * Bearer tokens and whose they are. Only the SHA-256 of a secret is kept, and a given secret is looked up by its own:
 * a lookup takes the same time whatever is guessed, because nobody can choose a digest's beginning. A slow hash would
 * protect short secrets; these are generated with 256 bits, which nobody tries out, and a slow hash at every request
 * would let anybody occupy the server.
 */
import { hash } from "node:crypto";
import { EngineError } from "../../engine/kernel/errors.js";
import { type Identity, isRole, NAME_PATTERN, ROLES } from "./identity.js";

/** Identities by the digests of their secrets. */
type TokenTable = ReadonlyMap<string, Identity>;

const SECRET_PATTERN = /^[A-Za-z0-9\-._~+/]+=*$/;
const SHORTEST_SECRET = 16;
/** Of a token that is given without a name. */
const UNNAMED: Identity = { name: "default", role: "admin" };

export const digestOf = (secret: string): string => hash("sha256", secret, "hex");

const badTokens = (fault: string): EngineError =>
  new EngineError(fault, { op: "http.start", code: "bad_option", retryable: false, input: "tokens" });

/**
 * Reads tokens as `SHUIWEI_TOKENS` has them: `name:role:secret`, or a bare secret, whose name is `default` and whose
 * role is `admin`. A name may stand there twice with one role, while a secret is being replaced.
 * @throws EngineError `bad_option`, which names no secret
 */
export function readTokens(texts: readonly string[]): TokenTable {
  const table = new Map<string, Identity>();
  const roles = new Map<string, string>();
  for (const text of texts) {
    const parts = text.split(":");
    if (parts.length !== 1 && parts.length !== 3)
      throw badTokens("a bearer token is neither a secret nor name:role:secret");
    const secret = parts.at(-1) as string;
    const [name, role] = parts.length === 3 ? (parts as [string, string]) : [UNNAMED.name, UNNAMED.role];
    if (!NAME_PATTERN.test(name))
      throw badTokens("a bearer token's name is not 1 to 64 letters, digits, dots, dashes, underscores or @");
    if (!isRole(role)) throw badTokens(`the bearer token ${name} has a role that is none of ${ROLES.join(", ")}`);
    if ((roles.get(name) ?? role) !== role) throw badTokens(`the bearer token ${name} is there with two roles`);
    if (secret.length < SHORTEST_SECRET) throw badTokens(`a bearer token has fewer than ${SHORTEST_SECRET} characters`);
    if (!SECRET_PATTERN.test(secret))
      throw badTokens(
        "a bearer token has characters that a header cannot carry (letters, digits and -._~+/ are taken)",
      );
    const digest = digestOf(secret);
    if (table.has(digest) && table.get(digest)?.name !== name)
      throw badTokens(`${name} and ${table.get(digest)?.name} have the same bearer token`);
    roles.set(name, role);
    table.set(digest, { name, role });
  }
  return table;
}
