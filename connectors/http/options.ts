/**
 * Options of the HTTP surface: where it listens, who may write, and what a request that leaves something out means.
 * Tokens are secrets: they are never printed, and are better given as a variable than as a flag, which other users of
 * the machine can see.
 */
import { defineOptions } from "../../engine/kernel/options.js";

/** A location's code as every request may name it. */
export const LOCATION_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$";

export const httpOptions = defineOptions({
  host: { type: "string", default: "127.0.0.1", about: "address that HTTP listens on; 0.0.0.0 for every one" },
  port: { type: "integer", default: 8618, min: 0, max: 65_535, about: "port that HTTP listens on; 0 takes a free one" },
  tokens: {
    type: "list",
    secret: true,
    about:
      "bearer tokens: name:role:secret with a role of read, order, operate, admin; or a secret alone (default, admin)",
  },
  tokensFile: {
    type: "string",
    about: "a file of tokens' hashes, which shuiwei tokens writes; read again when it changes",
  },
  open: {
    type: "list",
    choices: ["screens", "metrics"],
    about: "what is shown without a token or a session: the live screens, the metrics with the details of /readyz",
  },
  allowedHosts: {
    type: "list",
    about:
      "host names that this server is asked under, beside addresses, localhost and --host; a proxy's name, for example",
  },
  trustProxy: {
    type: "boolean",
    about: "a proxy in front appends the client's address to X-Forwarded-For, and nobody gets past it",
  },
  drainDelayMs: {
    type: "duration",
    default: 5_000,
    min: 0,
    max: 300_000,
    about: "told to stop by SIGTERM, how long to serve on while /readyz says so, before the port is closed",
  },
  defaultLocation: {
    type: "string",
    default: "main",
    pattern: new RegExp(LOCATION_PATTERN),
    expects: "up to 32 letters, digits, dots, dashes or underscores",
    about: "location of a request that names none",
  },
  channel: {
    type: "string",
    default: "WB",
    pattern: /^[0-9A-Z]{2}$/,
    expects: "2 characters of 0-9 A-Z",
    about: "channel code of ids made here",
  },
});
