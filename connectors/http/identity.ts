/**
 * Identities. Every accepted request of a route that is not public has an identity: a name, which events record as
 * their actor, and a role. Roles are ordered: `operate` includes `order` and `read`. Each route names the role that it
 * needs. Names and roles come from tokens (tokens.ts); this file reads no secret.
 */
import type { FastifyRequest } from "fastify";
import { assert } from "../../engine/kernel/errors.js";

/** In ascending order; each includes those before it. */
export const ROLES = ["read", "order", "operate", "admin"] as const;
export type Role = (typeof ROLES)[number];

export interface Identity {
  /** 1 to 64 letters, digits and `._@-`; no colon, which other kinds of actor contain (`cli:lin`). */
  readonly name: string;
  readonly role: Role;
  /**
   * The person whose phone this is, by its id. A person acknowledges and silences alerts and changes their own settings
   * whatever the role is.
   */
  readonly person?: string;
}

export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

/** The identity of every client of an open demo, with its person. */
export const DEMO_IDENTITY = { name: "demo", role: "admin", person: "demo" } as const satisfies Identity;

export const isRole = (text: string): text is Role => (ROLES as readonly string[]).includes(text);

export const mayDo = (identity: Identity, role: Role): boolean => ROLES.indexOf(identity.role) >= ROLES.indexOf(role);

/** Why an identity may not do something. */
export const roleFault = ({ name, role }: Identity, needed: Role, what = "this"): string =>
  `${what} needs the role ${needed}; ${name} has ${role}`;

/** Why an identity may not do what a person does, or what the role `needed` may do for them. */
export const personFault = (identity: Identity, needed?: Role): string =>
  needed === undefined
    ? `this is about the caller's own phone, and ${identity.name} is no person's session: pair the browser with a person's link`
    : `${roleFault(identity, needed)} and is no person's session`;

declare module "fastify" {
  interface FastifyRequest {
    /** Undefined on public routes, and before `authorize` has passed. */
    identity: Identity | undefined;
  }
}

/** The identity of a request that `authorize` has accepted. */
export function identityOf(request: FastifyRequest): Identity {
  assert(request.identity, "the route does not authorize its clients");
  return request.identity;
}

/** The id of the person of a request that `authorizePerson` has accepted without a role. */
export function personOf(request: FastifyRequest): string {
  const { person } = identityOf(request);
  assert(person !== undefined, "the route does not authorize persons");
  return person;
}

/** A command's actor: the authenticated name, and the actor that the body names, if any, as `onBehalfOf`. */
export const causeOf = (
  request: FastifyRequest,
  { actor, reason }: { actor?: string | undefined; reason?: string | undefined },
): { actor: string; onBehalfOf?: string; reason?: string } => ({
  actor: identityOf(request).name,
  ...(actor === undefined ? {} : { onBehalfOf: actor }),
  ...(reason === undefined ? {} : { reason }),
});

/** Finds the owner of the secret with a digest. */
export interface TokenLookup {
  get(digest: string): Identity | undefined;
}
