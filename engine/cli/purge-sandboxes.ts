/**
 * Sandboxes of CDNs for `shuiwei sandbox`: each prints the file for `--cdn` that reaches it, and once a minute how many
 * tags or addresses were purged.
 */
import type { PurgeSandbox } from "../../connectors/purges/sandbox.js";
import type { Sandbox } from "./channel-sandboxes.js";
import { figure } from "./text.js";

type Start = (settings: { readonly port: number }) => Promise<Sandbox>;

export const PURGE_SANDBOXES = {
  cloudflare: startCloudflare,
  fastly: startFastly,
  "aliyun-cdn": startAliyunCdn,
  "tencent-cdn": startTencentCdn,
} as const satisfies Record<string, Start>;

/** @param secrets variables of the environment that the connection refers to */
async function started(
  vendor: string,
  sandbox: PurgeSandbox,
  connection: object,
  secrets: Readonly<Record<string, string>>,
): Promise<Sandbox> {
  await sandbox.start();
  const variables = Object.entries(secrets).map(([name, value]) => `${name}=${value}`);
  const cdn = { name: "sandbox", vendor, connection: { url: sandbox.url, ...connection } };
  const file = { publicUrl: "http://127.0.0.1:8618", cdns: [cdn] };
  return {
    usage: `set ${variables.join(" ")}, and start serve with --cdn and this file: ${JSON.stringify(file)}`,
    report: () => {
      const { requests, throttled } = sandbox.figures;
      return `${figure(requests)} requests, ${figure(sandbox.purged.length)} purged values kept, ${figure(throttled)} throttled, ${figure(sandbox.denied)} denied`;
    },
    stop: () => sandbox.stop(),
  };
}

async function startCloudflare({ port }: { readonly port: number }): Promise<Sandbox> {
  const { CLOUDFLARE_SANDBOX, CloudflareSandbox } = await import("../../connectors/cloudflare/sandbox.js");
  const { zone, token } = CLOUDFLARE_SANDBOX;
  const connection = { zone, token: { env: "CLOUDFLARE_TOKEN" }, plan: "pro" };
  return started("cloudflare", new CloudflareSandbox({ port }), connection, { CLOUDFLARE_TOKEN: token });
}

async function startFastly({ port }: { readonly port: number }): Promise<Sandbox> {
  const { FASTLY_SANDBOX, FastlySandbox } = await import("../../connectors/fastly/sandbox.js");
  const { service, token } = FASTLY_SANDBOX;
  const connection = { service, token: { env: "FASTLY_TOKEN" } };
  return started("fastly", new FastlySandbox({ port }), connection, { FASTLY_TOKEN: token });
}

async function startAliyunCdn({ port }: { readonly port: number }): Promise<Sandbox> {
  const { ALIYUN_CDN_SANDBOX, AliyunCdnSandbox } = await import("../../connectors/aliyun-cdn/sandbox.js");
  const { accessKeyId, accessKeySecret } = ALIYUN_CDN_SANDBOX;
  const connection = { accessKeyId, accessKeySecret: { env: "ALIYUN_SECRET" } };
  return started("aliyun-cdn", new AliyunCdnSandbox({ port }), connection, { ALIYUN_SECRET: accessKeySecret });
}

async function startTencentCdn({ port }: { readonly port: number }): Promise<Sandbox> {
  const { TENCENT_CDN_SANDBOX, TencentCdnSandbox } = await import("../../connectors/tencent-cdn/sandbox.js");
  const { secretId, secretKey } = TENCENT_CDN_SANDBOX;
  const connection = { secretId, secretKey: { env: "TENCENT_KEY" } };
  return started("tencent-cdn", new TencentCdnSandbox({ port }), connection, { TENCENT_KEY: secretKey });
}
