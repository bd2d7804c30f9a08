/**
 * The group chat that the demo's alerts go to: a sandbox of DingTalk's robots in the same process, as an endpoint of a
 * configuration of alerts. So the demo shows real deliveries before a visitor has turned notifications on. The sandbox
 * has the shop's clock, as the channel has: both count messages of the same minute.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DINGTALK_SANDBOX, DingTalkSandbox } from "../../connectors/dingtalk/sandbox.js";
import type { Clock } from "../kernel/clock.js";

/** Names of variables that exist for the demo's engine alone. */
const TOKEN = "DEMO_DINGTALK_TOKEN";
const SECRET = "DEMO_DINGTALK_SECRET";
const VALUES: ReadonlyMap<string, string> = new Map([
  [TOKEN, DINGTALK_SANDBOX.token],
  [SECRET, DINGTALK_SANDBOX.secret],
]);

export class DemoGroup {
  readonly #sandbox: DingTalkSandbox;

  constructor(clock: Clock) {
    this.#sandbox = new DingTalkSandbox({ clock });
  }

  start(): Promise<void> {
    return this.#sandbox.start();
  }

  stop(): Promise<void> {
    return this.#sandbox.stop();
  }

  /** A variable of the environment that the configuration refers to. */
  environment(name: string): string | undefined {
    return VALUES.get(name);
  }

  /** Writes the configuration of alerts once the sandbox listens; answers its path, for the option `alerts`. */
  async writeConfiguration(dir: string): Promise<string> {
    const path = join(dir, "alerts.json");
    const connection = {
      url: `${this.#sandbox.url}/robot/send`,
      accessToken: { env: TOKEN },
      secret: { env: SECRET },
    };
    const endpoint = { name: "duty-group", about: "a sandbox in this process", channel: "dingtalk", connection };
    await mkdir(dir, { recursive: true });
    await writeFile(path, `${JSON.stringify({ endpoints: [endpoint] }, undefined, 2)}\n`);
    return path;
  }
}
