/** The stores of publications against their contract. */
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe } from "vitest";
import { PublicationBucket } from "../../connectors/objects/publication-bucket.js";
import { PublicationFolder } from "../../connectors/objects/publication-folder.js";
import { BUCKET, KEY_ID, REGION, S3Sandbox, SECRET } from "../../connectors/objects/sandbox.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { RedisPublicationStore } from "../../engine/publication/redis-store.js";
import { connect } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";
import { describePublicationStore } from "./publication-store.js";

describe("in Redis", () => {
  const redis = withRedis();
  let tests = 0;

  describePublicationStore("Redis", async () => {
    const client = redis.connect();
    await RedisPublicationStore.load(client);
    const prefix = `publication-${++tests}`;
    const away = connect({ url: redis.away, timeoutMs: 1_000 });
    return {
      store: new RedisPublicationStore(client, prefix),
      reopen: () => new RedisPublicationStore(client, prefix),
      unreachable: async () => new RedisPublicationStore(away, prefix),
      async close() {
        away.disconnect();
      },
    };
  });
});

describePublicationStore("a folder", async () => {
  const folder = await mkdtemp(join(tmpdir(), "publication-"));
  const root = join(folder, "stock");
  return {
    store: new PublicationFolder(root),
    reopen: () => new PublicationFolder(root),
    async unreachable() {
      await symlink(join(folder, "nowhere", "deep"), join(folder, "lost"));
      return new PublicationFolder(join(folder, "lost"));
    },
    close: () => rm(folder, { recursive: true }),
  };
});

describePublicationStore("a bucket", async () => {
  const sandbox = await S3Sandbox.start();
  const open = (endpoint = sandbox.endpoint): PublicationBucket => {
    const bucket = { endpoint, bucket: BUCKET, prefix: "stock", region: REGION, keyId: KEY_ID, secret: SECRET };
    return new PublicationBucket("s3+http://sandbox/bucket", bucket, { clock: systemClock, timeoutMs: 5_000 });
  };
  return {
    store: open(),
    reopen: () => open(),
    async unreachable() {
      const gone = await S3Sandbox.start();
      await gone.stop();
      return open(gone.endpoint);
    },
    close: () => sandbox.stop(),
  };
});
