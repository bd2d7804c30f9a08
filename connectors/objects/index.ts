/**
 * Object storage by configuration: a folder of this machine by default, or a bucket. Faults in the settings are
 * reported before anything is sent.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../engine/kernel/clock.js";
import { EngineError } from "../../engine/kernel/errors.js";
import { FileStore } from "./file-store.js";
import type { ObjectStore } from "./object-store.js";
import type { Bucket } from "./s3-client.js";
import { S3Store } from "./s3-store.js";

export type { ObjectStore } from "./object-store.js";

export interface ObjectsSettings {
  /**
   * `file:///folder`, `s3+https://endpoint/bucket[/prefix]?region=…` or `s3+http://…`; undefined: `objects` in `dir`.
   */
  objectsUrl: string | undefined;
  objectsKeyId: string | undefined;
  objectsSecret: string | undefined;
  objectsTimeoutMs: number;
  dir: string;
}

const DEFAULT_FOLDER = "objects";
const BUCKET_NAME = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const PREFIX = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/;

/**
 * Opens the storage that the settings name.
 * @throws EngineError `bad_option`
 */
export function openObjectStore(settings: ObjectsSettings): ObjectStore {
  const { objectsUrl, dir, objectsTimeoutMs: timeoutMs } = settings;
  if (objectsUrl === undefined) return new FileStore(join(dir, DEFAULT_FOLDER));
  const url = URL.canParse(objectsUrl) ? new URL(objectsUrl) : undefined;
  if (url?.protocol === "file:") {
    if (url.host !== "") throw badOption("--objects-url", "a folder has three slashes: file:///srv/objects");
    return new FileStore(fileURLToPath(url));
  }
  if (url?.protocol === "s3+https:" || url?.protocol === "s3+http:")
    return new S3Store(bucketOf(url, settings), { clock: systemClock, timeoutMs });
  throw badOption("--objects-url", "is neither file:///… nor s3+https://endpoint/bucket");
}

function bucketOf(url: URL, { objectsKeyId: keyId, objectsSecret: secret }: ObjectsSettings): Bucket {
  if (url.username !== "" || url.password !== "")
    throw badOption(
      "--objects-url",
      "keys do not belong into it: give SHUIWEI_OBJECTS_KEY_ID and SHUIWEI_OBJECTS_SECRET",
    );
  if (keyId === undefined) throw badOption("--objects-key-id", "a bucket needs it (or SHUIWEI_OBJECTS_KEY_ID)");
  if (secret === undefined) throw badOption("--objects-secret", "a bucket needs it (or SHUIWEI_OBJECTS_SECRET)");
  const [bucket = "", ...rest] = url.pathname.replace(/^\/|\/$/g, "").split("/");
  const prefix = rest.join("/");
  if (!BUCKET_NAME.test(bucket)) throw badOption("--objects-url", "names no bucket: s3+https://endpoint/bucket");
  if (prefix !== "" && !PREFIX.test(prefix))
    throw badOption("--objects-url", "the prefix takes letters, digits, dots, dashes and underscores");
  const unknown = [...url.searchParams.keys()].find((name) => name !== "region");
  if (unknown !== undefined) throw badOption("--objects-url", `${JSON.stringify(unknown)} is no setting; region is`);
  const region = url.searchParams.get("region") || "us-east-1";
  return { endpoint: `${url.protocol.slice("s3+".length)}//${url.host}`, bucket, prefix, region, keyId, secret };
}

const badOption = (place: string, message: string): EngineError =>
  new EngineError(`${place}: ${message}`, { op: "objects", code: "bad_option", retryable: false, input: place });
