/**
 * Bearer tokens and their owners. Only the SHA-256 of a secret is kept, and a request's secret is looked up by its
 * digest. The time of a lookup reveals nothing, because an attacker cannot choose a digest. A slow hash would protect
 * short secrets only; generated ones have 256 bits, and a slow hash at every request would make the server easy to
 * overload.
 */
import { hash } from "node:crypto";
import { EngineError } from "../../engine/kernel/errors.js";
import { type Identity, isRole, NAME_PATTERN, ROLES } from "./identity.js";

/** Identities by the digests of their secrets. */
type TokenTable = ReadonlyMap<string, Identity>;

const SECRET_PATTERN = /^[A-Za-z0-9\-._~+/]+=*$/;
const SHORTEST_SECRET = 16;
/** The identity of a token without a name. */
const UNNAMED: Identity = { name: "default", role: "admin" };

export const digestOf = (secret: string): string => hash("sha256", secret, "hex");

const badTokens = (fault: string): EngineError =>
  new EngineError(fault, { op: "http.start", code: "bad_option", retryable: false, input: "tokens" });

/**
 * Reads tokens as `SHUIWEI_TOKENS` has them: `name:role:secret`, or a bare secret, whose name is `default` and whose
 * role is `admin`. A name may occur twice with the same role, while a secret is being replaced.
 * @throws EngineError `bad_option`, without the secret
 */
export function readTokens(texts: readonly string[]): TokenTable {
  const table = new Map<string, Identity>();
  const roles = new Map<string, string>();
  for (const text of texts) {
    const parts = text.split(":");
    if (parts.length !== 1 && parts.length !== 3)
      throw badTokens("a bearer token must be a secret or name:role:secret");
    const secret = parts.at(-1) as string;
    const [name, role] = parts.length === 3 ? (parts as [string, string]) : [UNNAMED.name, UNNAMED.role];
    if (!NAME_PATTERN.test(name))
      throw badTokens("a bearer token's name is not 1 to 64 letters, digits, dots, dashes, underscores or @");
    if (!isRole(role)) throw badTokens(`the bearer token ${name} has a role that is none of ${ROLES.join(", ")}`);
    if ((roles.get(name) ?? role) !== role) throw badTokens(`the bearer token ${name} is given with two roles`);
    if (secret.length < SHORTEST_SECRET) throw badTokens(`a bearer token has fewer than ${SHORTEST_SECRET} characters`);
    if (!SECRET_PATTERN.test(secret))
      throw badTokens(
        "a bearer token has characters that a header cannot contain (allowed: letters, digits and -._~+/)",
      );
    const digest = digestOf(secret);
    if (table.has(digest) && table.get(digest)?.name !== name)
      throw badTokens(`${name} and ${table.get(digest)?.name} have the same bearer token`);
    roles.set(name, role);
    table.set(digest, { name, role });
  }
  return table;
}
