/**
 * `shuiwei sandbox wms|objects`: serves the sandbox of an outside system on loopback, so that an engine can be tried
 * without the real one. It prints its address, and once a minute what it received. It keeps everything in memory.
 */
import { sleep } from "../kernel/clock.js";
import { badInput } from "../kernel/errors.js";
import { defineOptions, type OptionValues } from "../kernel/options.js";
import { defineCommand } from "./command.js";
import { figure, printLine } from "./text.js";

const OP = "sandbox";
const REPORT_EVERY_MS = 60_000;
const KINDS = ["wms", "objects"] as const;

const options = defineOptions({
  port: { type: "integer", default: 0, min: 0, max: 65_535, about: "port on 127.0.0.1; 0 chooses a free one" },
  limit: {
    type: "integer",
    default: 5_000,
    min: 1,
    max: 1_000_000,
    unit: "requests/s",
    about: "wms: requests that it accepts in any second; the others get 429",
  },
});

interface Sandbox {
  /** Printed at the start. */
  readonly usage: string;
  /** Printed once a minute. */
  report(): string;
  stop(): Promise<void>;
}

export const command = defineCommand({
  name: "sandbox",
  about: "a local sandbox of an outside system, to try the engine with: a WMS, or a bucket for objects",
  operands: "wms|objects",
  more: `  wms      takes picking orders and cancellations as connectors/wms/README.md describes them
  objects  an S3 bucket that verifies every signature

Everything is in memory and lost when it stops; past a limit the oldest is dropped.

`,
  options,
  async run({ values, operands, signal }) {
    const [kind, ...more] = operands;
    if (more.length > 0 || !KINDS.some((known) => known === kind))
      throw badInput(OP, "wms|objects", "name one of them");
    const sandbox = kind === "wms" ? await startWms(values) : await startObjects(values);
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
