/**
 * Options of the HTTP connector: address, tokens, and defaults of requests. Tokens are secrets: they are never printed,
 * and are better given as an environment variable than as a flag, which other users of the machine can see.
 */
import { defineOptions } from "../../engine/kernel/options.js";

/** The pattern of location codes in requests. */
export const LOCATION_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$";

export const httpOptions = defineOptions({
  host: { type: "string", default: "127.0.0.1", about: "address that HTTP listens on; 0.0.0.0 for all addresses" },
  port: {
    type: "integer",
    default: 8618,
    min: 0,
    max: 65_535,
    about: "port that HTTP listens on; 0 selects a free port",
  },
  tokens: {
    type: "list",
    secret: true,
    about:
      "bearer tokens: name:role:secret with a role of read, order, operate, admin; or a secret alone (default, admin)",
  },
  tokensFile: {
    type: "string",
    about: "a file with hashes of tokens, written by shuiwei tokens; read again when it changes",
  },
  open: {
    type: "list",
    choices: ["screens", "metrics"],
    about: "what is shown without a token or a session: the live screens, the metrics with the details of /readyz",
  },
  allowedHosts: {
    type: "list",
    about: "host names of this server besides addresses, localhost and --host, for example a proxy's public name",
  },
  trustProxy: {
    type: "boolean",
    about: "a proxy in front appends the client's address to X-Forwarded-For, and no client can bypass it",
  },
  drainDelayMs: {
    type: "duration",
    default: 5_000,
    min: 0,
    max: 300_000,
    about: "how long to serve after SIGTERM, with /readyz at 503, before the port is closed",
  },
  defaultLocation: {
    type: "string",
    default: "main",
    pattern: new RegExp(LOCATION_PATTERN),
    expects: "up to 32 letters, digits, dots, dashes or underscores",
    about: "location for requests that name none",
  },
  channel: {
    type: "string",
    default: "WB",
    pattern: /^[0-9A-Z]{2}$/,
    expects: "2 characters of 0-9 A-Z",
    about: "channel code of ids that this server makes",
  },
});
