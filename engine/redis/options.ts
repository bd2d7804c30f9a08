/**
 * Options of the Redis that the engine uses: one that is given by its address, or a private one that the engine starts.
 */
import { defineOptions } from "../kernel/options.js";

export const redisOptions = defineOptions({
  redisUrl: {
    type: "string",
    about:
      "a Redis (redis://host:6379), a Cluster's nodes with commas between, or Sentinels (redis+sentinel://host:26379,…/name); left out: a private one in --dir",
  },
  waitReplicas: {
    type: "integer",
    default: 0,
    min: 0,
    max: 8,
    unit: "replicas",
    about:
      "a command is answered when this many replicas have it; with all of a primary's replicas, nothing that was answered is lost with the primary; needs --redis-url",
  },
  dir: { type: "string", default: ".shuiwei", about: "where the private Redis keeps its data" },
  redisMemoryShare: {
    type: "number",
    default: 0.5,
    min: 0.05,
    max: 0.9,
    about: "share of the machine's memory, or of the container's, that the private Redis takes at most",
  },
  appendfsync: {
    type: "choice",
    choices: ["everysec", "always", "no"],
    default: "everysec",
    about: "when the private Redis syncs its file to the disk; everysec may lose a second if the machine fails",
  },
});
