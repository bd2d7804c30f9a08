/**
 * Who asks. Every request that is let past the public routes has an identity: a name, which events bear as their
 * actor, and a role. Roles are ordered: whoever may operate may also take orders and read. Which route needs which
 * role is said at the route. Names and roles come from tokens (tokens.ts); nothing here looks at a secret.
 */
import type { FastifyRequest } from "fastify";
import { assert } from "../../engine/kernel/errors.js";

/** From the least to the most; each may do what those before it may. */
export const ROLES = ["read", "order", "operate", "admin"] as const;
export type Role = (typeof ROLES)[number];

export interface Identity {
  /** 1 to 64 letters, digits and `._@-`; it contains no colon, which other kinds of actor do (`cli:lin`). */
  readonly name: string;
  readonly role: Role;
}

export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

/** Of whoever reaches an open demo. */
export const DEMO_IDENTITY: Identity = { name: "demo", role: "admin" };

export const isRole = (text: string): text is Role => (ROLES as readonly string[]).includes(text);

export const mayDo = (identity: Identity, role: Role): boolean => ROLES.indexOf(identity.role) >= ROLES.indexOf(role);

/** Why somebody who is known may not do something, in words. */
export const roleFault = ({ name, role }: Identity, needed: Role, what = "this"): string =>
  `${what} needs the role ${needed}; ${name} has ${role}`;

declare module "fastify" {
  interface FastifyRequest {
    /** Undefined on public routes, and before `authorize` has passed. */
    identity: Identity | undefined;
  }
}

/** The identity of a request that `authorize` has let pass. */
export function identityOf(request: FastifyRequest): Identity {
  assert(request.identity, "the route lets everybody in");
  return request.identity;
}

/** What a command says about who asks: the authenticated name, and whom the body names instead, if anybody. */
export const causeOf = (
  request: FastifyRequest,
  { actor, reason }: { actor?: string | undefined; reason?: string | undefined },
): { actor: string; onBehalfOf?: string; reason?: string } => ({
  actor: identityOf(request).name,
  ...(actor === undefined ? {} : { onBehalfOf: actor }),
  ...(reason === undefined ? {} : { reason }),
});

/** Finds whose secret has this digest. */
export interface TokenLookup {
  get(digest: string): Identity | undefined;
}
