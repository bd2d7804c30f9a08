/**
 * Schemas of people who are notified of alerts, of their own settings and devices, and of pairing their phones.
 */
import { Type } from "typebox";
import { closed, Instant, text } from "./common.js";

const MAX_ROLES = 8;
/** Steps of a ladder are a minute apart. */
const MAX_STEPS = 5;
const MAX_CONTACTS = 8;
const LAST_MINUTE = 24 * 60 - 1;

const PersonId = Type.String({
  pattern: "^[a-z0-9][a-z0-9._-]{0,31}$",
  description: "a person's id of up to 32 lower-case letters, digits, dots, dashes or underscores",
  examples: ["li.wei"],
});

const PersonName = text(64, "a name", "李伟");

const AlertRole = Type.String({
  pattern: "^[a-z][a-z0-9_-]{0,31}$",
  description: "a role that routes of alerts name: purchasing, warehouse, operations, or the shop's own",
  examples: ["purchasing"],
});

const Language = Type.Enum(["zh", "en"]);

const Contact = Type.String({
  pattern: "^(web-push|wecom|endpoint:[A-Za-z0-9][A-Za-z0-9._-]{0,63})$",
  description: "web-push (all devices), wecom, or endpoint: and the name of a configured endpoint",
  examples: ["web-push"],
});

const Ladder = Type.Array(Type.Array(Contact, { minItems: 1, maxItems: MAX_CONTACTS, uniqueItems: true }), {
  maxItems: MAX_STEPS,
  description: "contacts of one step are used together; the next step follows when nothing was displayed",
  examples: [[["web-push"], ["endpoint:purchasing-group"]]],
});

const Minute = Type.Integer({ minimum: 0, maximum: LAST_MINUTE, examples: [1_380] });

const QuietHours = Type.Object(
  { fromMinute: Minute, toMinute: Minute },
  {
    ...closed,
    description: "minutes after midnight in the shop's zone; toMinute may be before fromMinute: over midnight",
  },
);

const person = {
  name: PersonName,
  roles: Type.Array(AlertRole, { maxItems: MAX_ROLES, uniqueItems: true, examples: [["purchasing"]] }),
  language: Language,
  wecomUserId: Type.Optional(
    Type.String({
      pattern: "^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$",
      description: "the user id in WeCom's directory, of up to 64 letters, digits or ._@-",
      examples: ["LiWei"],
    }),
  ),
  ladder: Ladder,
  quietHours: Type.Optional(QuietHours),
};

export const PersonParams = Type.Object({ id: PersonId });

const example = {
  name: "李伟",
  roles: ["purchasing"],
  language: "zh",
  ladder: [["web-push"], ["endpoint:purchasing-group"]],
  quietHours: { fromMinute: 1_380, toMinute: 420 },
} as const;

export const PersonBody = Type.Object(person, { ...closed, examples: [example] });

export const PersonAnswer = Type.Object({ id: Type.String(), ...person }, { examples: [{ id: "li.wei", ...example }] });

export const PersonList = Type.Object({ people: Type.Array(PersonAnswer) });

export const OwnSettingsBody = Type.Object(
  {
    language: Type.Optional(Language),
    ladder: Type.Optional(Ladder),
    quietHours: Type.Optional(Type.Union([QuietHours, Type.Null()], { description: "quiet hours, or null for none" })),
  },
  { ...closed, minProperties: 1, examples: [{ language: "en", quietHours: null }] },
);

export const PhonePairingBody = Type.Object(
  {
    label: Type.Optional(
      Type.String({
        pattern: "^[A-Za-z0-9][A-Za-z0-9._@-]{0,30}$",
        description: "a label of the phone: up to 31 letters, digits, dots, dashes, underscores or @",
        examples: ["iPhone"],
      }),
    ),
    days: Type.Optional(Type.Integer({ minimum: 1, maximum: 365 })),
  },
  { ...closed, examples: [{ label: "iPhone" }] },
);

export const PhonePairingAnswer = Type.Object({
  code: Type.String({ description: "can be used once" }),
  link: Type.String({ description: "to be shown as a QR code; browsers do not send the part after the #" }),
  validUntil: Instant,
  name: Type.String({ description: "the person and the label; events record it as their actor" }),
  person: Type.String(),
});

export const DeviceParams = Type.Object({
  id: Type.String({ pattern: "^[A-Za-z0-9_-]{16}$", description: "a device's id", examples: ["Zk3hQ1yq0bW5nT8c"] }),
});

export const DeviceList = Type.Object({
  devices: Type.Array(
    Type.Object({
      id: Type.String(),
      label: Type.String({ examples: ["iPhone"] }),
      channel: Type.String({ examples: ["web-push"] }),
      since: Instant,
      displayedAt: Type.Optional({ ...Instant, description: "absent while nothing was displayed on it" }),
      silentPushes: Type.Integer({
        minimum: 0,
        description: "accepted since then without being displayed; at 3 its owner is reached by other contacts, too",
      }),
    }),
  ),
});
