/** The object storages of connectors/objects against their contract. */
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileStore } from "../../connectors/objects/file-store.js";
import type { Bucket } from "../../connectors/objects/s3-client.js";
import { S3Store } from "../../connectors/objects/s3-store.js";
import { BUCKET, KEY_ID, REGION, S3Sandbox, SECRET } from "../../connectors/objects/sandbox.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { describeObjectStore } from "./object-store.js";

describeObjectStore(
  "a folder",
  // A folder that is gone looks like an empty one.
  { noticesUnreachable: ["put"], secrets: [] },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "objects-"));
    const root = join(folder, "objects");
    return {
      store: new FileStore(root),
      reopen: () => new FileStore(root),
      async unreachable() {
        await symlink(join(folder, "nowhere", "deep"), join(folder, "lost"));
        return new FileStore(join(folder, "lost"));
      },
      async denied() {
        await writeFile(join(folder, "file"), "");
        return new FileStore(join(folder, "file"));
      },
      close: () => rm(folder, { recursive: true }),
    };
  },
);

const TIMEOUT_MS = 5_000;
const WRONG_SECRET = "a/wrong+secret=of-this-test";

describeObjectStore(
  "a bucket",
  { noticesUnreachable: ["put", "get", "delete"], secrets: [SECRET, WRONG_SECRET] },
  async () => {
    const sandbox = await S3Sandbox.start();
    const open = (more: Partial<Bucket> = {}): S3Store =>
      new S3Store(
        {
          endpoint: sandbox.endpoint,
          bucket: BUCKET,
          prefix: "shop",
          region: REGION,
          keyId: KEY_ID,
          secret: SECRET,
          ...more,
        },
        { clock: systemClock, timeoutMs: TIMEOUT_MS },
      );
    return {
      store: open(),
      reopen: open,
      async unreachable() {
        const gone = await S3Sandbox.start();
        await gone.stop();
        return open({ endpoint: gone.endpoint });
      },
      denied: async () => open({ secret: WRONG_SECRET }),
      close: () => sandbox.stop(),
    };
  },
);
