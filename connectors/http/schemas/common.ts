/**
 * Schemas that several subjects share: ids, names, units and times. The same objects check requests, serialize answers
 * and make the OpenAPI document. A schema's description completes the sentence "must be …" in a fault. Unknown fields
 * are refused everywhere; no value is converted or filled in.
 */
import { Type } from "typebox";
import { CHAIN_ID_PATTERN, COMMAND_ID_PATTERN, chainIdFromNumber } from "../../../engine/kernel/chain-id.js";
import { LINE_STATES, MAX_HOLD_MS, MAX_UNITS, OUTCOMES } from "../../../engine/stock/model.js";
import { LOCATION_PATTERN } from "../options.js";

export const closed = { additionalProperties: false } as const;

/**
 * The pattern of one character that is neither excluded nor a lone surrogate. It means the same with and without the
 * `u` flag: clients' validators and linters compile a document's patterns without it, where `\p{Cc}` is a class of
 * letters. A pair of surrogates is one character with the flag, two without.
 */
export const character = (excluded: string): string =>
  `(?:[^${excluded}\\ud800-\\udfff]|[\\ud800-\\udbff][\\udc00-\\udfff])`;

/** Any character except control characters (`\p{Cc}`). */
export const PLAIN = character("\\u0000-\\u001f\\u007f-\\u009f");

/** Not only blanks. Takes linear time: one lookahead, one pass. */
const TEXT_PATTERN = `^(?!\\s*$)${PLAIN}+$`;

export const text = (maxLength: number, what: string, example: string) =>
  Type.String({
    minLength: 1,
    maxLength,
    pattern: TEXT_PATTERN,
    description: `${what} of 1 to ${maxLength} characters, without control characters and not only blanks`,
    examples: [example],
  });

export const Sku = text(64, "a SKU", "TEA-0042");
export const Actor = text(64, "an actor", "li.wei@warehouse");
export const Reason = text(200, "a reason", "stocktaking 2026-06-17");
export const Location = Type.String({
  pattern: LOCATION_PATTERN,
  description: "a location of up to 32 letters, digits, dots, dashes or underscores",
  examples: ["main"],
});

export const OrderId = Type.String({
  pattern: CHAIN_ID_PATTERN,
  description: "a chain id (channel, time, salt, check character)",
  examples: [chainIdFromNumber("WB", Date.UTC(2026, 5, 17, 16), 618)],
});

export const CommandId = Type.String({
  pattern: COMMAND_ID_PATTERN,
  description: "a chain id (channel, time, salt, check character, and optionally -line)",
});

export const Channel = Type.String({
  pattern: "^[0-9A-Z]{2}$",
  description: "2 characters of 0-9 A-Z",
  examples: ["WB"],
});

export const Units = Type.Integer({ minimum: 1, maximum: MAX_UNITS, examples: [2] });

export const HoldMs = Type.Integer({ minimum: 1, maximum: MAX_HOLD_MS, examples: [1_800_000] });

export const OrderPool = Type.Enum(["sellable", "presale"]);

export const OrderParams = Type.Object({ id: OrderId });

export const SkuParams = Type.Object({ sku: Sku });

export const Instant = Type.String({ format: "date-time", examples: ["2026-06-18T00:00:07.000Z"] });

export const Count = Type.Integer({ minimum: 0 });

export const LineOutcome = Type.Enum([...OUTCOMES]);

export const State = Type.Enum([...LINE_STATES]);

export const MissingUnits = Type.Optional(
  Type.Integer({ minimum: 1, description: "units that were in no balance when the line left or was cancelled" }),
);
