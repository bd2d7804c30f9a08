/** The options of `shuiwei edge`. */
import { defineOptions } from "../kernel/options.js";

export const edgeOptions = defineOptions({
  seconds: {
    type: "integer",
    default: 40,
    min: 5,
    max: 600,
    unit: "seconds",
    about: "check: how long it reads; below 20 it does not test a pause",
  },
  origin: {
    type: "string",
    about: "check: the engine's own address past all caches, for example http://10.0.0.5:8618",
  },
  purgeUrl: { type: "string", about: "check: an address that removes the answer from the edge; requested once" },
  purgeMethod: {
    type: "string",
    default: "PURGE",
    pattern: /[A-Z]{3,10}/,
    expects: "a method such as PURGE or POST",
    about: "check: the method of that request",
  },
  purgeHeader: {
    type: "string",
    secret: true,
    pattern: /[A-Za-z0-9-]+: ?\S.*/,
    expects: "a header such as 'Surrogate-Key: stock-1'",
    about: "check: a header of that request",
  },
  everyMs: {
    type: "duration",
    default: 5_000,
    min: 1_000,
    max: 60_000,
    about: "watch: how often each edge is read, on average",
  },
  objective: {
    type: "number",
    default: 0.999,
    min: 0.5,
    max: 0.99999,
    about: "watch: the share of bodies that are to be at most 13 s old",
  },
  host: { type: "string", default: "127.0.0.1", about: "watch: where /metrics and /healthz are served" },
  port: { type: "integer", default: 0, min: 0, max: 65_535, about: "watch: their port; 0 chooses a free one" },
  json: { type: "boolean", about: "check: one line of JSON instead of text" },
});
