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
    expects: "a header such as 'X-Stock-Refresh: 1'",
    about: "check: a header of that request",
  },
  json: { type: "boolean", about: "check: one line of JSON instead of text" },
});
