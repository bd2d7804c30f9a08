/**
 * The receivers of the fault test of notifications: a sandbox for each channel, and in front of each that speaks plain
 * HTTP a proxy that fails half of the requests. Half of those fail before the sandbox has the message, the other half
 * after it: then the sender cannot tell whether it arrived. The push service fails half of the pushes by itself.
 */
import { once } from "node:events";
import { createServer, type Server, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { DingTalkSandbox } from "../../connectors/dingtalk/sandbox.js";
import { FeishuSandbox } from "../../connectors/feishu/sandbox.js";
import { PushSandbox } from "../../connectors/web-push/sandbox.js";
import { WebhookSandbox } from "../../connectors/webhook/sandbox.js";
import { WecomSandbox } from "../../connectors/wecom/sandbox.js";
import type { Random } from "../../engine/kernel/random.js";

/** Forwards requests; while it fails, a quarter is lost on the way there, and a quarter on the way back. */
class FailingProxy {
  readonly #server: Server;
  failures = 0;

  constructor(target: () => string, isFailing: () => boolean, random: Random) {
    this.#server = createServer((request, reply) => {
      const fate = isFailing() ? random.below(4) : 3;
      const fail = () => {
        this.failures++;
        reply.writeHead(503).end("out of service");
      };
      request.on("error", () => {});
      reply.on("error", () => {});
      if (fate === 0) {
        request.resume();
        request.on("end", fail);
        return;
      }
      const { method = "GET", headers } = request;
      const onward = send(new URL(request.url ?? "/", target()), { method, headers }, (answer) => {
        answer.on("error", () => reply.destroy());
        if (fate === 1) {
          answer.resume();
          answer.on("end", fail);
        } else {
          reply.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(reply);
        }
      });
      onward.on("error", () => reply.destroy());
      request.pipe(onward);
    });
  }

  async start(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}

/** What one person is reached by: a robot of each group channel, a webhook, and the two personal channels. */
export interface PersonReceivers {
  readonly dingTalk: DingTalkSandbox;
  readonly feishu: FeishuSandbox;
  readonly webhook: WebhookSandbox;
  readonly urls: { readonly dingTalk: string; readonly feishu: string; readonly webhook: string };
}

export class Receivers {
  readonly push = new PushSandbox();
  readonly wecom = new WecomSandbox();
  readonly people: PersonReceivers[] = [];
  wecomUrl = "";
  /** Whether half of the requests fail. */
  isFailing = true;
  readonly #proxies: FailingProxy[] = [];
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  async start(people: number): Promise<void> {
    await this.push.start();
    this.push.fault = () => (this.isFailing && this.#random.below(2) === 0 ? { status: 503 } : undefined);
    await this.wecom.start();
    this.wecomUrl = (await this.#before(() => this.wecom.url)).url;
    for (let i = 0; i < people; i++) {
      const [dingTalk, feishu, webhook] = [new DingTalkSandbox(), new FeishuSandbox(), new WebhookSandbox()];
      for (const sandbox of [dingTalk, feishu, webhook]) await sandbox.start();
      const [a, b, c] = await Promise.all([
        this.#before(() => dingTalk.url),
        this.#before(() => feishu.url),
        this.#before(() => webhook.url),
      ]);
      this.people.push({ dingTalk, feishu, webhook, urls: { dingTalk: a.url, feishu: b.url, webhook: c.url } });
    }
  }

  async stop(): Promise<void> {
    for (const proxy of this.#proxies) await proxy.stop();
    for (const { dingTalk, feishu, webhook } of this.people)
      await Promise.all([dingTalk.stop(), feishu.stop(), webhook.stop()]);
    await this.wecom.stop();
    await this.push.stop();
  }

  async #before(target: () => string): Promise<FailingProxy> {
    const proxy = new FailingProxy(target, () => this.isFailing, this.#random);
    await proxy.start();
    this.#proxies.push(proxy);
    return proxy;
  }
}
