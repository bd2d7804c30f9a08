/**
 * What the chat robots' codes mean: too many messages are asked for later, a wrong signature is refused for good, and
 * DingTalk's block of ten minutes is waited for.
 */
import { afterEach, expect, it } from "vitest";
import type { OpenChannel } from "../../../connectors/channel.js";
import { dingTalkKind } from "../../../connectors/dingtalk/kind.js";
import { DINGTALK_SANDBOX, DingTalkSandbox } from "../../../connectors/dingtalk/sandbox.js";
import { feishuKind } from "../../../connectors/feishu/kind.js";
import { FEISHU_SANDBOX, FeishuSandbox } from "../../../connectors/feishu/sandbox.js";
import { wecomRobotKind } from "../../../connectors/wecom/robot-kind.js";
import { WECOM_SANDBOX, WecomSandbox } from "../../../connectors/wecom/sandbox.js";
import { type Clock, systemClock } from "../../../engine/kernel/clock.js";
import { messageOf } from "../../conformance/channel.js";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const started = async <Box extends { start(): Promise<void>; stop(): Promise<void> }>(sandbox: Box): Promise<Box> => {
  await sandbox.start();
  closing.push(() => sandbox.stop());
  return sandbox;
};

const opened = async (channel: Promise<OpenChannel>): Promise<OpenChannel> => {
  const open = await channel;
  closing.push(() => open.close?.());
  return open;
};

const parts = (settings: unknown, clock: Clock = systemClock) => ({ clock, endpoints: [{ name: "g", settings }] });

const send = (channel: OpenChannel, n: number) =>
  channel.send(
    { message: messageOf(1, { id: `p/${n}` }), to: "g", url: undefined, ttlMs: 1_000, urgency: "normal" },
    AbortSignal.timeout(20_000),
  );

it("waits ten minutes when DingTalk has had too many messages", async () => {
  let nowMs = 1_781_000_000_000;
  const clock = { now: () => nowMs };
  const sandbox = await started(new DingTalkSandbox({ clock }));
  const { token: accessToken, secret } = DINGTALK_SANDBOX;
  const channel = await opened(
    dingTalkKind.open(parts({ url: `${sandbox.url}/robot/send`, accessToken, secret }, clock)),
  );
  for (let i = 0; i < 20; i++) expect((await send(channel, i)).outcome).toBe("accepted");
  expect(await send(channel, 20)).toMatchObject({ outcome: "retry", throttled: true, retryAfterMs: 600_000 });
  nowMs += 599_000;
  expect((await send(channel, 20)).outcome).toBe("retry");
  nowMs += 1_000;
  expect((await send(channel, 20)).outcome).toBe("accepted");
});

it("refuses for good what another try does not change", async () => {
  const dingTalk = await started(new DingTalkSandbox());
  const wrongSecret = { url: `${dingTalk.url}/robot/send`, accessToken: DINGTALK_SANDBOX.token, secret: "SECother" };
  const first = await opened(dingTalkKind.open(parts(wrongSecret)));
  expect(await send(first, 1)).toMatchObject({ outcome: "refused", reason: expect.stringContaining("310000") });

  const feishu = await started(new FeishuSandbox());
  const url = `${feishu.url}/open-apis/bot/v2/hook/${FEISHU_SANDBOX.hook}`;
  const second = await opened(feishuKind.open(parts({ url, secret: "other" })));
  expect(await send(second, 1)).toMatchObject({ outcome: "refused", reason: expect.stringContaining("19021") });

  const wecom = await started(new WecomSandbox());
  const third = await opened(wecomRobotKind.open(parts({ url: wecom.url, key: "other" })));
  expect(await send(third, 1)).toMatchObject({ outcome: "refused", reason: expect.stringContaining("93000") });
});

it("is throttled by Feishu above 5 in a second, and by WeCom above 20 in a minute", async () => {
  let nowMs = 1_781_000_000_000;
  const clock = { now: () => nowMs };
  const feishu = await started(new FeishuSandbox({ clock }));
  const url = `${feishu.url}/open-apis/bot/v2/hook/${FEISHU_SANDBOX.hook}`;
  const first = await opened(feishuKind.open(parts({ url, secret: FEISHU_SANDBOX.secret }, clock)));
  for (let i = 0; i < 5; i++) expect((await send(first, i)).outcome).toBe("accepted");
  expect(await send(first, 5)).toMatchObject({ outcome: "retry", throttled: true });
  nowMs += 1_000;
  expect((await send(first, 5)).outcome).toBe("accepted");

  const wecom = await started(new WecomSandbox({ clock }));
  const second = await opened(wecomRobotKind.open(parts({ url: wecom.url, key: WECOM_SANDBOX.robotKey }, clock)));
  for (let i = 0; i < 20; i++) expect((await send(second, i)).outcome).toBe("accepted");
  expect(await send(second, 20)).toMatchObject({ outcome: "retry", throttled: true, retryAfterMs: 60_000 });
  nowMs += 60_000;
  expect((await send(second, 20)).outcome).toBe("accepted");
});
