/** The stores of publications against their contract. */
import { describe } from "vitest";
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
