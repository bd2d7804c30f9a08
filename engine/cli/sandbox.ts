/**
 * `shuiwei sandbox KIND`: serves the sandbox of an outside system on loopback, so that an engine can be tried
 * without the real one. It prints its address, and once a minute what it received. It keeps everything in memory.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SandboxFigures } from "../../connectors/sources/sandbox/server.js";
import { sleep } from "../kernel/clock.js";
import { badInput } from "../kernel/errors.js";
import { defineOptions, type OptionValues } from "../kernel/options.js";
import { CHANNEL_SANDBOXES, type Sandbox } from "./channel-sandboxes.js";
import { defineCommand } from "./command.js";
import { PURGE_SANDBOXES } from "./purge-sandboxes.js";
import { figure, printLine } from "./text.js";

const OP = "sandbox";
const REPORT_EVERY_MS = 60_000;
/** How each is started. */
const KINDS = {
  wms: startWms,
  objects: startObjects,
  source: startSource,
  wangdian: startWangdian,
  youzan: startYouzan,
  "oracle-ebs": startOracleEbs,
  "web-push": startWebPush,
  ...CHANNEL_SANDBOXES,
  ...PURGE_SANDBOXES,
} as const;
const NAMES = Object.keys(KINDS).join("|");
/** Cells that a sandbox of a source begins with. */
const FIRST_CELLS = 12;

const options = defineOptions({
  port: { type: "integer", default: 0, min: 0, max: 65_535, about: "port on 127.0.0.1; 0 chooses a free one" },
  limit: {
    type: "integer",
    default: 5_000,
    min: 1,
    max: 1_000_000,
    unit: "requests/s",
    about: "requests that a WMS or a source accepts in any second; the others are throttled",
  },
});

export const command = defineCommand({
  name: "sandbox",
  about:
    "a local sandbox of an outside system, to try the engine with: a WMS, a bucket, a source of stock, a channel to people, a CDN",
  operands: NAMES,
  more: `  wms         takes picking orders and cancellations as connectors/wms/README.md describes them
  objects     an S3 bucket that verifies every signature
  source      any system that reports stock over HTTP, for sources of the kind http; POST /drift makes its next movement go wrong
  wangdian    Wangdian's open platform: verifies signatures and timestamps, gives changes until they are acknowledged
  youzan      Youzan's open platform: gives tokens that expire, items with two specifications, and trades; POST /sandbox/drift as above
  oracle-ebs  Oracle E-Business Suite's REST gateway with the package of connectors/oracle-ebs/README.md; POST /sandbox/drift as above
  web-push    a push service over TLS that verifies and decrypts; POST /sandbox/subscriptions gives what a browser would
  webhook     a receiver of signed webhooks
  alertmanager  takes alerts as Prometheus Alertmanager does, and lists those that are open
  dingtalk    a robot of DingTalk (钉钉): verifies signatures, takes 20 messages a minute
  wecom       an application and a robot of WeCom (企业微信): gives access tokens, suppresses repeats
  feishu      a bot of Feishu (飞书): verifies signatures, takes 5 messages a second
  cloudflare  purges of a Cloudflare zone by tag or URL, with the limits of the plan pro
  fastly      purges of a Fastly service by surrogate key, 256 a request
  aliyun-cdn  the API of Alibaba Cloud's CDN (阿里云): verifies signatures, takes 1,000 URLs a minute and 10,000 a day
  tencent-cdn  the API of Tencent Cloud's CDN (腾讯云): verifies signatures, takes 10,000 URLs a day

Everything is in memory and lost when it stops; past a limit the oldest is dropped.

`,
  options,
  async run({ values, operands, signal }) {
    const [kind, ...more] = operands;
    const start = Object.entries(KINDS).find(([known]) => known === kind)?.[1];
    if (more.length > 0 || start === undefined) throw badInput(OP, NAMES, "name one of them");
    const sandbox = await start(values);
    try {
      printLine(sandbox.usage);
      while (!signal.aborted) {
        await sleep(REPORT_EVERY_MS, signal);
        printLine(sandbox.report());
      }
    } finally {
      await sandbox.stop();
    }
  },
});

async function startWms({ port, limit }: OptionValues<typeof options>): Promise<Sandbox> {
  const { WmsSandbox } = await import("../../connectors/wms/sandbox.js");
  const wms = new WmsSandbox({ port, limitPerSecond: limit });
  await wms.start();
  return {
    usage: `WMS at ${wms.url}: start serve with --wms-url ${wms.url} --wms-limit ${limit}`,
    report() {
      const { arrived, arrivedPerSecondMost, cancellations, throttled, unavailable, duplicates } = wms.report();
      return [
        `${figure(arrived)} requests (at most ${figure(arrivedPerSecondMost)} in a second)`,
        `${figure(wms.accepted)} orders accepted`,
        `${figure(duplicates)} duplicates`,
        `${figure(cancellations)} cancellations`,
        `${figure(throttled)} answered 429`,
        `${figure(unavailable)} answered 503`,
      ].join(", ");
    },
    stop: () => wms.stop(),
  };
}

async function startObjects({ port }: OptionValues<typeof options>): Promise<Sandbox> {
  const { BUCKET, KEY_ID, REGION, S3Sandbox, SECRET } = await import("../../connectors/objects/sandbox.js");
  const bucket = await S3Sandbox.start({ port });
  const { host } = new URL(bucket.endpoint);
  return {
    usage: `bucket at ${bucket.endpoint}: start serve with --objects-url "s3+http://${host}/${BUCKET}?region=${REGION}" --objects-key-id ${KEY_ID}, and SHUIWEI_OBJECTS_SECRET=${SECRET}`,
    report: () =>
      `${figure(bucket.requests)} requests, ${figure(bucket.denied)} denied, ${figure(bucket.objects.size)} objects kept`,
    stop: () => bucket.stop(),
  };
}

async function startSource({ port, limit }: OptionValues<typeof options>): Promise<Sandbox> {
  const { SourceSandbox } = await import("../../connectors/sources/sandbox.js");
  const source = new SourceSandbox({ port, perSecond: limit });
  await source.start();
  fill(source.stock);
  const connection = {
    ...{ url: `${source.url}/stock`, format: "ndjson", paging: { link: {} } },
    ...{ asOf: "x-as-of", id: "x-snapshot-id", totalRows: "x-total-rows" },
  };
  return {
    usage: `source at ${source.url}: configure the kind http with "connection": ${JSON.stringify(connection)}`,
    report: () => reportOf(source),
    stop: () => source.stop(),
  };
}

async function startWangdian({ port, limit }: OptionValues<typeof options>): Promise<Sandbox> {
  const { WANGDIAN_SANDBOX, WangdianSandbox } = await import("../../connectors/wangdian/sandbox.js");
  const wangdian = new WangdianSandbox({ port, perSecond: limit });
  await wangdian.start();
  fill(wangdian.stock);
  const { sid, appKey, appSecret } = WANGDIAN_SANDBOX;
  const connection = { url: wangdian.url, sid, appKey, appSecret: { env: "WANGDIAN_SECRET" }, stock: "warehouse" };
  return {
    usage: `Wangdian at ${wangdian.url}: set WANGDIAN_SECRET=${appSecret}, and configure the kind wangdian with "connection": ${JSON.stringify(connection)}`,
    report: () => `${reportOf(wangdian)}, ${figure(wangdian.waiting)} changes not acknowledged`,
    stop: () => wangdian.stop(),
  };
}

async function startYouzan({ port, limit }: OptionValues<typeof options>): Promise<Sandbox> {
  const { YOUZAN_SANDBOX, YouzanSandbox } = await import("../../connectors/youzan/sandbox.js");
  const youzan = new YouzanSandbox({ port, perSecond: limit, specifications: 2 });
  await youzan.start();
  fill(youzan.stock);
  const { clientId, clientSecret, shop } = YOUZAN_SANDBOX;
  const connection = { url: youzan.url, clientId, clientSecret: { env: "YOUZAN_SECRET" }, shop };
  return {
    usage: `Youzan at ${youzan.url}: set YOUZAN_SECRET=${clientSecret}, and configure the kind youzan with "connection": ${JSON.stringify(connection)}`,
    report: () => `${reportOf(youzan)}, ${figure(youzan.issued)} tokens given`,
    stop: () => youzan.stop(),
  };
}

async function startOracleEbs({ port, limit }: OptionValues<typeof options>): Promise<Sandbox> {
  const { ORACLE_EBS_SANDBOX, OracleEbsSandbox } = await import("../../connectors/oracle-ebs/sandbox.js");
  const ebs = new OracleEbsSandbox({ port, perSecond: limit });
  await ebs.start();
  fill(ebs.stock);
  const { password, ...rest } = ORACLE_EBS_SANDBOX;
  const connection = { url: ebs.url, ...rest, password: { env: "EBS_PASSWORD" } };
  return {
    usage: `Oracle E-Business Suite at ${ebs.url}: set EBS_PASSWORD=${password}, and configure the kind oracle-ebs, with "units": {"EA":1} and "connection": ${JSON.stringify(connection)}`,
    report: () => reportOf(ebs),
    stop: () => ebs.stop(),
  };
}

async function startWebPush({ port }: OptionValues<typeof options>): Promise<Sandbox> {
  const [{ PushSandbox }, { mkdtemp, rm, writeFile }] = await Promise.all([
    import("../../connectors/web-push/sandbox.js"),
    import("node:fs/promises"),
  ]);
  const push = new PushSandbox({ port });
  await push.start();
  const folder = await mkdtemp(join(tmpdir(), "shuiwei-web-push-"));
  const file = join(folder, "certificate.pem");
  await writeFile(file, push.certificate);
  return {
    usage: `push service at ${push.url}: start serve with --vapid-subject mailto:ops@shop.com --push-hosts ${push.host}, and NODE_EXTRA_CA_CERTS=${file}`,
    report: () =>
      `${figure(push.requests)} requests, ${figure(push.refusals.length)} refused, ${figure(push.pushes.length)} pushes kept`,
    async stop() {
      await push.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Something to show in `sources check`. */
function fill(stock: { set(sku: string, location: string, units: number): void }): void {
  for (let i = 0; i < FIRST_CELLS; i++)
    stock.set(`SKU-${String(i + 1).padStart(2, "0")}`, i % 3 === 0 ? "east" : "main", 10 + i);
}

const reportOf = ({ figures: { requests, throttled, failed } }: { figures: SandboxFigures }): string =>
  `${figure(requests)} requests, ${figure(throttled)} throttled, ${figure(failed)} failed`;
