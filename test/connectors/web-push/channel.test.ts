/**
 * Web Push against a push service that verifies and decrypts: what arrives is what a person should see, each answer
 * means for the message and the device what the README states, and nothing but 404 and 410 removes a device.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { WebPushChannel } from "../../../connectors/web-push/channel.js";
import { SandboxBrowser } from "../../../connectors/web-push/sandbox/browser.js";
import type { PushFault } from "../../../connectors/web-push/sandbox.js";
import { alertOf, messageOf, outgoing, PushBed, SUBJECT } from "./bed.js";

const signal = new AbortController().signal;
let bed: PushBed;
let channel: WebPushChannel;

beforeEach(async () => {
  bed = new PushBed();
  await bed.sandbox.start();
  channel = bed.open();
});

afterEach(async () => {
  await channel.close();
  await bed.sandbox.stop();
});

const send = (to: string, message = messageOf([alertOf("CUP")])) => channel.send(outgoing(to, message), signal);

describe("a push", () => {
  it("arrives encrypted for the browser, signed by the deployment, and says what has happened", async () => {
    const critical = { ...outgoing(bed.add("d1")), urgency: "high" } as const;
    expect(await channel.send(critical, signal)).toEqual({ outcome: "accepted" });
    const [push] = bed.sandbox.pushes;
    expect(push).toMatchObject({ urgency: "high", ttlSeconds: 3_600, sender: bed.keys.publicKey, subject: SUBJECT });
    expect(JSON.parse(push?.text ?? "")).toMatchObject({
      web_push: 8030,
      notification: {
        title: "【消耗告警】CUP：近一小时 128 件",
        navigate: "https://shop.com/phone#alert=CUP%231",
        lang: "zh-CN",
        tag: "alert:CUP#1",
      },
      shuiwei: { messageId: "person:li/1", device: "d1", alertIds: ["CUP#1"], type: "alert" },
    });
    expect(bed.accepted).toEqual(["d1"]);
  });

  it("about the same alert replaces the earlier one, which a summary does not", async () => {
    const to = bed.add("d1");
    const cup = alertOf("CUP");
    await send(to);
    await send(to);
    await send(to, messageOf([{ ...cup, state: "cleared" }], { id: "person:li/2", type: "change" }));
    await send(to, messageOf([cup, alertOf("MUG")], { id: "person:li/3" }));
    await send(to, messageOf([cup, alertOf("MUG")], { id: "person:li/4" }));
    const [first, again, change, summary, other] = bed.sandbox.pushes.map(({ topic }) => topic);
    expect([again, change]).toEqual([first, first]);
    expect(new Set([first, summary, other]).size).toBe(3);
  });

  it("never reaches another person's browser", async () => {
    bed.add("d1", "wang");
    expect(await send("d1")).toMatchObject({ outcome: "refused", isGone: true });
    expect(await send("unknown")).toMatchObject({ outcome: "refused", isGone: true });
    expect(bed.sandbox.requests).toBe(0);
  });
});

const answers: [name: string, answer: PushFault, expected: object][] = [
  ["400", { status: 400 }, { outcome: "refused", reason: "HTTP 400" }],
  ["401", { status: 401 }, { outcome: "refused" }],
  ["403", { status: 403, body: '{"reason":"BadJwtToken"}' }, { outcome: "refused", reason: "HTTP 403: BadJwtToken" }],
  ["413", { status: 413 }, { outcome: "refused", reason: "HTTP 413" }],
  ["307", { status: 307, headers: { location: "http://127.0.0.1:1/" } }, { outcome: "refused" }],
  ["406 of Windows", { status: 406 }, { outcome: "retry", throttled: true }],
  ["429", { status: 429, headers: { "retry-after": "7" } }, { outcome: "retry", throttled: true, retryAfterMs: 7_000 }],
  ["500", { status: 500, body: "<html>" }, { outcome: "retry", reason: "HTTP 500" }],
  ["503", { status: 503, headers: { "retry-after": "9" } }, { outcome: "retry", retryAfterMs: 9_000 }],
];

describe("answers", () => {
  it.each(answers)("%s: the device stays", async (_name, answer, expected) => {
    const to = bed.add("d1");
    bed.sandbox.fault = () => answer;
    const outcome = await send(to);
    expect(outcome).toMatchObject(expected);
    expect(outcome).not.toHaveProperty("isGone");
    expect([bed.removed, bed.accepted]).toEqual([[], []]);
    bed.sandbox.fault = undefined;
    expect(await send(to)).toEqual({ outcome: "accepted" });
  });

  it.each([404, 410])("%i: the device is removed", async (status) => {
    const to = bed.add("d1");
    bed.sandbox.fault = () => ({ status });
    expect(await send(to)).toMatchObject({ outcome: "refused", isGone: true });
    expect(bed.removed).toEqual([["d1", "gone"]]);
  });

  it("none within the time limit: it may have arrived, and the device stays", async () => {
    await channel.close();
    channel = bed.open({ timeoutMs: 200 });
    bed.sandbox.fault = () => "silence";
    expect(await send(bed.add("d1"))).toMatchObject({ outcome: "retry", mayHaveArrived: true });
    expect(bed.removed).toEqual([]);
  });

  it("never quote what could be secret", async () => {
    const { endpoint, keys } = bed.sandbox.subscribe(bed.keys.publicKey);
    const to = bed.add("d1", "li", { endpoint, keys });
    bed.sandbox.fault = () => ({
      status: 400,
      body: JSON.stringify({ reason: endpoint, message: bed.keys.privateKey }),
    });
    expect(await send(to)).toEqual({ outcome: "refused", reason: "HTTP 400" });
  });

  it("lose no subscription when half of 200 are faults", async () => {
    for (let i = 0; i < 20; i++) bed.add(`d${i}`);
    const statuses = [403, 406, 429, 500, 502, 503, 504];
    let n = 0;
    bed.sandbox.fault = () => (n++ % 2 === 0 ? { status: statuses[n % statuses.length] as number } : undefined);
    for (let i = 0; i < 200; i++) await send(`d${i % 20}`);
    expect([bed.devices.size, bed.removed]).toEqual([20, []]);
    expect(bed.accepted).toHaveLength(100);
  });
});

describe("an address that somebody has chosen", () => {
  it("is not reached inside the network unless the operator has named it", async () => {
    await channel.close();
    channel = bed.open({ isTrusted: false });
    expect(await send(bed.add("d1"))).toMatchObject({ outcome: "refused", reason: expect.stringContaining("public") });
    expect(bed.sandbox.requests).toBe(0);
    expect(bed.removed).toEqual([]);
  });

  it.each(["https://10.0.0.1/x", "http://127.0.0.1/x", "https://localhost/x", "https://fcm.googleapis.com.evil.com/"])(
    "is checked again before it is used: %s",
    async (endpoint) => {
      const keys = new SandboxBrowser().keys;
      expect(await send(bed.add("d1", "li", { endpoint, keys }))).toMatchObject({ outcome: "refused" });
      expect(await send(bed.add("d1", "li", { endpoint: bed.sandbox.subscribe().endpoint } as never))).toMatchObject({
        outcome: "refused",
      });
      expect([bed.sandbox.requests, bed.removed]).toEqual([0, []]);
    },
  );
});
