/**
 * Schemas of pairing a browser and of its session.
 */
import { Type } from "typebox";
import { ROLES } from "../identity.js";
import { closed, Instant } from "./common.js";

const RoleName = Type.Enum([...ROLES]);

export const PairingBody = Type.Object(
  {
    label: Type.Optional(
      Type.String({
        pattern: "^[A-Za-z0-9][A-Za-z0-9._@-]{0,31}$",
        description: "a label of the browser: up to 32 letters, digits, dots, dashes, underscores or @",
        examples: ["wall-2"],
      }),
    ),
    role: Type.Optional(RoleName),
    days: Type.Optional(Type.Integer({ minimum: 1, maximum: 365 })),
  },
  { ...closed, examples: [{ label: "wall-2" }] },
);

export const SessionBody = Type.Object(
  { code: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: "a pairing code" })) },
  { ...closed, examples: [{ code: "7G3K-9QXA-0MTC-W2EB" }] },
);

export const SessionParams = Type.Object({
  id: Type.String({ pattern: "^[0-9a-f]{16}$", description: "a session's id", examples: ["0a1b2c3d4e5f6071"] }),
});

const session = {
  name: Type.String({ description: "the operator and the label; events record it as their actor" }),
  role: RoleName,
  expiresAt: Instant,
  person: Type.Optional(Type.String({ description: "the id of the person whose phone this is" })),
};

export const PairingAnswer = Type.Object({
  code: Type.String({ description: "can be used once" }),
  link: Type.String({ description: "creates a browser's session; browsers do not send the part after the #" }),
  validUntil: Instant,
  name: session.name,
  role: RoleName,
});

export const SessionAnswer = Type.Object(session);

export const WhoAnswer = Type.Object({ name: Type.String(), role: RoleName, person: session.person });

export const SessionList = Type.Object({
  sessions: Type.Array(Type.Object({ id: Type.String(), ...session, since: Instant })),
});
