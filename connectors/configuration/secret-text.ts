/**
 * A secret in the schema of a configuration file: the file has a reference to it, `{"env": "NAME"}` or
 * `{"file": "PATH"}`, never the text. The schema marks it, so that its reference is replaced when the file is read
 * (secrets.ts), and so that no fault shows what somebody has written there instead.
 */
import { Type } from "typebox";

/** Marks a secret in a schema. */
export const SECRET_MARK = "x-secret";

/** The schema of a secret; who opens the settings gets the text. */
export const secretText = (about: string) =>
  Type.Unsafe<string>({
    [SECRET_MARK]: true,
    description: `${about}: {"env": "NAME"} or {"file": "PATH"}`,
    type: "object",
    additionalProperties: false,
    minProperties: 1,
    maxProperties: 1,
    properties: {
      env: {
        [SECRET_MARK]: true,
        description: "the name of a variable of the environment",
        type: "string",
        pattern: "^[A-Za-z_][A-Za-z0-9_]{0,127}$",
      },
      file: { type: "string", minLength: 1, maxLength: 1_024 },
    },
  });
