/**
 * Options of the object storage. The key's secret is better given as a variable (SHUIWEI_OBJECTS_SECRET) than as a
 * flag, which other users of the machine can see.
 */
import { defineOptions } from "../../engine/kernel/options.js";

export const objectsOptions = defineOptions({
  objectsUrl: {
    type: "string",
    about:
      "where objects are kept: a folder (file:///srv/objects) or a bucket (s3+https://endpoint/bucket?region=cn-east-1); left out: objects in --dir",
  },
  objectsKeyId: { type: "string", about: "access key id of the bucket" },
  objectsSecret: { type: "string", secret: true, about: "secret access key of the bucket" },
  objectsTimeoutMs: {
    type: "duration",
    default: 5_000,
    min: 100,
    max: 60_000,
    about: "how long a bucket has for one answer",
  },
});
