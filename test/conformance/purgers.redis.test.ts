/**
 * Every CDN of the product whose copies are purged passes the suite of test/conformance/purger.ts.
 */
import { beforeAll } from "vitest";
import { aliyunCdnKind } from "../../connectors/aliyun-cdn/kind.js";
import { ALIYUN_CDN_SANDBOX, AliyunCdnSandbox } from "../../connectors/aliyun-cdn/sandbox.js";
import { cloudflareKind } from "../../connectors/cloudflare/kind.js";
import { PLANS } from "../../connectors/cloudflare/limits.js";
import { CLOUDFLARE_SANDBOX, CloudflareSandbox } from "../../connectors/cloudflare/sandbox.js";
import { fastlyKind } from "../../connectors/fastly/kind.js";
import { FASTLY_SANDBOX, FastlySandbox } from "../../connectors/fastly/sandbox.js";
import { tencentCdnKind } from "../../connectors/tencent-cdn/kind.js";
import { TENCENT_CDN_SANDBOX, TencentCdnSandbox } from "../../connectors/tencent-cdn/sandbox.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { withRedis } from "../redis/with-redis.js";
import { describePurger } from "./purger.js";

const redis = withRedis();
let connected: RedisClient;
beforeAll(() => {
  connected = redis.connect();
});
const client = () => connected;
const WRONG = "a-token-that-was-revoked";

for (const plan of PLANS)
  for (const by of ["tag", "url"] as const) {
    const connection = (url: string, token: string) => ({ url, zone: CLOUDFLARE_SANDBOX.zone, token, plan, by });
    describePurger(
      `cloudflare-${plan}-${by}`,
      {
        ...{ kind: cloudflareKind, by, secrets: [CLOUDFLARE_SANDBOX.token, WRONG] },
        sandbox: (clock) => new CloudflareSandbox({ plan, clock }),
        connection: (url) => connection(url, CLOUDFLARE_SANDBOX.token),
        wrongConnection: (url) => connection(url, WRONG),
      },
      client,
    );
  }

describePurger(
  "fastly",
  {
    ...{ kind: fastlyKind, by: "tag", secrets: [FASTLY_SANDBOX.token, WRONG] },
    sandbox: (clock) => new FastlySandbox({ clock }),
    connection: (url) => ({ url, ...FASTLY_SANDBOX }),
    wrongConnection: (url) => ({ url, ...FASTLY_SANDBOX, token: WRONG }),
  },
  client,
);

for (const product of ["cdn", "dcdn"] as const)
  describePurger(
    `aliyun-${product}`,
    {
      ...{ kind: aliyunCdnKind, by: "url", secrets: [ALIYUN_CDN_SANDBOX.accessKeySecret, WRONG] },
      sandbox: (clock) => new AliyunCdnSandbox({ clock }),
      connection: (url) => ({ url, product, ...ALIYUN_CDN_SANDBOX }),
      wrongConnection: (url) => ({ url, product, ...ALIYUN_CDN_SANDBOX, accessKeySecret: WRONG }),
    },
    client,
  );

describePurger(
  "tencent-cdn",
  {
    ...{ kind: tencentCdnKind, by: "url", secrets: [TENCENT_CDN_SANDBOX.secretKey, WRONG] },
    sandbox: (clock) => new TencentCdnSandbox({ clock }),
    connection: (url) => ({ url, ...TENCENT_CDN_SANDBOX }),
    wrongConnection: (url) => ({ url, ...TENCENT_CDN_SANDBOX, secretKey: WRONG }),
  },
  client,
);
