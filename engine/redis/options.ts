/**
 * Options of the Redis that the engine uses: one given by address, or a private one of its own.
 */
import { defineOptions } from "../kernel/options.js";

export const redisOptions = defineOptions({
  redisUrl: {
    type: "string",
    about: "a Redis (redis://host:6379), or a Cluster's nodes with commas between; left out: a private one in --dir",
  },
  dir: { type: "string", default: ".shuiwei", about: "where the private Redis keeps its data" },
  appendfsync: {
    type: "choice",
    choices: ["everysec", "always", "no"],
    default: "everysec",
    about: "when the private Redis puts what it wrote on the disk; everysec may lose a second if the machine dies",
  },
});
