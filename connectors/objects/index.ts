/**
 * Object storage by configuration: a folder of this machine by default, or a bucket; and where publications go that
 * Redis does not keep. Faults in the settings are reported before anything is sent.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../engine/kernel/clock.js";
import { EngineError } from "../../engine/kernel/errors.js";
import type { PublicationStore } from "../../engine/publication/publication-store.js";
import { FileStore } from "./file-store.js";
import type { ObjectStore } from "./object-store.js";
import { PublicationBucket } from "./publication-bucket.js";
import { PublicationFolder } from "./publication-folder.js";
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

/** A bucket's keys are those of the object storage. */
export type PublicationSettings = Pick<ObjectsSettings, "objectsKeyId" | "objectsSecret" | "objectsTimeoutMs">;

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
  const place = placeOf("--objects-url", objectsUrl, settings);
  if ("folder" in place) return new FileStore(place.folder);
  return new S3Store(place.bucket, { clock: systemClock, timeoutMs });
}

/**
 * Opens the folder or bucket that a publication goes to. Nothing is sent yet.
 * @param url `file:///folder` or `s3+https://endpoint/bucket[/prefix]?region=…`
 * @throws EngineError `bad_option`
 */
export function openPublicationStore(url: string, settings: PublicationSettings): PublicationStore {
  const place = placeOf("--publication", url, settings);
  if ("folder" in place) return new PublicationFolder(place.folder);
  return new PublicationBucket(url, place.bucket, { clock: systemClock, timeoutMs: settings.objectsTimeoutMs });
}

/** What the URL that an option has names. */
function placeOf(option: string, text: string, settings: PublicationSettings): { folder: string } | { bucket: Bucket } {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "file:") {
    if (url.host !== "") throw badOption(option, "a folder has three slashes: file:///srv/objects");
    return { folder: fileURLToPath(url) };
  }
  if (url?.protocol === "s3+https:" || url?.protocol === "s3+http:") return { bucket: bucketOf(option, url, settings) };
  throw badOption(option, "is neither file:///… nor s3+https://endpoint/bucket");
}

function bucketOf(
  option: string,
  url: URL,
  { objectsKeyId: keyId, objectsSecret: secret }: PublicationSettings,
): Bucket {
  if (url.username !== "" || url.password !== "")
    throw badOption(option, "keys do not belong into it: give SHUIWEI_OBJECTS_KEY_ID and SHUIWEI_OBJECTS_SECRET");
  if (keyId === undefined) throw badOption("--objects-key-id", "a bucket needs it (or SHUIWEI_OBJECTS_KEY_ID)");
  if (secret === undefined) throw badOption("--objects-secret", "a bucket needs it (or SHUIWEI_OBJECTS_SECRET)");
  const [bucket = "", ...rest] = url.pathname.replace(/^\/|\/$/g, "").split("/");
  const prefix = rest.join("/");
  if (!BUCKET_NAME.test(bucket)) throw badOption(option, "names no bucket: s3+https://endpoint/bucket");
  if (prefix !== "" && !PREFIX.test(prefix))
    throw badOption(option, "the prefix takes letters, digits, dots, dashes and underscores");
  const unknown = [...url.searchParams.keys()].find((name) => name !== "region");
  if (unknown !== undefined) throw badOption(option, `${JSON.stringify(unknown)} is no setting; region is`);
  const region = url.searchParams.get("region") || "us-east-1";
  return { endpoint: `${url.protocol.slice("s3+".length)}//${url.host}`, bucket, prefix, region, keyId, secret };
}

const badOption = (place: string, message: string): EngineError =>
  new EngineError(`${place}: ${message}`, { op: "objects", code: "bad_option", retryable: false, input: place });
