/**
 * Sandboxes of CDNs' APIs for `shuiwei sandbox`: each prints the purge that reaches it, for the file of `--cdn`, and
 * once a minute how much it was asked to purge. They purge nothing: a cache beside them keeps its copies.
 */
import type { SandboxFigures } from "../../connectors/sources/sandbox/server.js";
import type { Sandbox } from "./channel-sandboxes.js";
import { figure } from "./text.js";

interface CdnSandbox {
  readonly url: string;
  readonly figures: SandboxFigures;
  /** What was purged: URLs or tags. */
  readonly purged: readonly string[];
  start(): Promise<void>;
  stop(): Promise<void>;
}

type Start = (settings: { readonly port: number }) => Promise<Sandbox>;

export const CDN_SANDBOXES = {
  "aliyun-cdn": startAliyunCdn,
  "tencent-cdn": startTencentCdn,
} as const satisfies Record<string, Start>;

/**
 * @param connection of the purge, beside the address
 * @param secret a variable of the environment that the connection refers to, and its value
 */
async function started(
  vendor: string,
  sandbox: CdnSandbox,
  connection: object,
  secret: readonly [name: string, value: string],
): Promise<Sandbox> {
  await sandbox.start();
  const purge = { name: vendor, vendor, connection: { url: sandbox.url, ...connection } };
  return {
    usage: `set ${secret.join("=")}, and name this purge in the file of --cdn: ${JSON.stringify(purge)}`,
    report: () => {
      const { requests, throttled } = sandbox.figures;
      return `${figure(requests)} requests, ${figure(sandbox.purged.length)} purges kept, ${figure(throttled)} throttled`;
    },
    stop: () => sandbox.stop(),
  };
}

async function startAliyunCdn({ port }: { readonly port: number }): Promise<Sandbox> {
  const { ALIYUN_CDN_SANDBOX, AliyunCdnSandbox } = await import("../../connectors/aliyun-cdn/sandbox.js");
  const { accessKeyId, accessKeySecret } = ALIYUN_CDN_SANDBOX;
  const connection = { accessKeyId, accessKeySecret: { env: "ALIYUN_SECRET" } };
  return started("aliyun-cdn", new AliyunCdnSandbox({ port }), connection, ["ALIYUN_SECRET", accessKeySecret]);
}

async function startTencentCdn({ port }: { readonly port: number }): Promise<Sandbox> {
  const { TENCENT_CDN_SANDBOX, TencentCdnSandbox } = await import("../../connectors/tencent-cdn/sandbox.js");
  const { secretId, secretKey } = TENCENT_CDN_SANDBOX;
  const connection = { secretId, secretKey: { env: "TENCENT_KEY" } };
  return started("tencent-cdn", new TencentCdnSandbox({ port }), connection, ["TENCENT_KEY", secretKey]);
}
