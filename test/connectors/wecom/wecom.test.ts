/**
 * What only WeCom has: access tokens that expire, the button of a card and its callback, and members that it does not
 * have. Against the sandbox, which verifies as WeCom does.
 */
import Fastify from "fastify";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { OpenChannel } from "../../../connectors/channel.js";
import { wecomKind } from "../../../connectors/wecom/application-kind.js";
import { encrypt, signatureOf } from "../../../connectors/wecom/callback-crypto.js";
import { openCallback } from "../../../connectors/wecom/callback-routes.js";
import { WECOM_SANDBOX, type WecomMessage, WecomSandbox } from "../../../connectors/wecom/sandbox.js";
import type { Person } from "../../../engine/alerting/people.js";
import type { AlertRequests } from "../../../engine/jobs/alerts/requests.js";
import { channelParts, messageOf } from "../../conformance/channel.js";

const { corpId, agentId, corpSecret, callbackToken: token, callbackAesKey: aesKey } = WECOM_SANDBOX;
const SECRETS = { token, aesKey, receiverId: corpId };
const PERSON = { id: "li.wei", name: "李伟", language: "zh", roles: [], ladder: [], wecomUserId: "LiWei" } as Person;

let sandbox: WecomSandbox;
let channel: OpenChannel;
const running = new AbortController();
const closing: (() => unknown)[] = [];

const settings = () => ({ url: sandbox.url, corpId, agentId, secret: corpSecret, callback: { token, aesKey } });

beforeEach(async () => {
  sandbox = new WecomSandbox({ members: ["LiWei"] });
  await sandbox.start();
  channel = await wecomKind.open({ ...channelParts(), endpoints: [{ name: "app", settings: settings() }] });
});

afterEach(async () => {
  await channel.close?.();
  for (const close of closing.splice(0)) await close();
  await sandbox.stop();
});

const send = (id: string, to = "LiWei", total = 1) =>
  channel.send(
    { message: messageOf(total, { id }), to, url: undefined, ttlMs: 60_000, urgency: "normal" },
    running.signal,
  );

/** The engine's side of the callback. */
async function callbackServer(people: readonly Person[] = [PERSON], first?: string) {
  const acknowledged: Parameters<AlertRequests["acknowledge"]>[] = [];
  const troubles: string[] = [];
  const server = Fastify();
  const opened = openCallback(settings(), { token, aesKey }, {
    alerting: { people: { list: async () => people } },
    alertRequests: {
      acknowledge: async (...request: Parameters<AlertRequests["acknowledge"]>) => {
        acknowledged.push(request);
        return { outcome: "recorded", acknowledgedBy: first ?? request[1].actor };
      },
    },
    onTrouble: (trouble: string) => troubles.push(trouble),
  } as unknown as Parameters<typeof openCallback>[2]);
  opened.routes?.(server, () => async () => {}, { config: {}, onRequest: [] });
  await server.listen({ port: 0, host: "127.0.0.1" });
  closing.push(
    () => server.close(),
    () => opened.close?.(),
  );
  const { port } = server.server.address() as { port: number };
  return { url: `http://127.0.0.1:${port}/v1/callbacks/wecom`, acknowledged, troubles };
}

it("uses one access token for all messages, and gets another when it is refused", async () => {
  const first = await Promise.all(["p/1", "p/2", "p/3"].map((id) => send(id)));
  expect(first.map(({ outcome }) => outcome)).toEqual(["accepted", "accepted", "accepted"]);
  expect(sandbox.tokensGiven).toBe(1);
  sandbox.expireTokens();
  expect((await send("p/4")).outcome).toBe("accepted");
  expect(sandbox.tokensGiven).toBe(2);
});

it("does not send without end when every token is refused", async () => {
  await sandbox.stop();
  sandbox = new WecomSandbox({ tokenMs: -1 });
  await sandbox.start();
  const refused = await wecomKind.open({ ...channelParts(), endpoints: [{ name: "app", settings: settings() }] });
  closing.push(() => refused.close?.());
  const outgoing = { message: messageOf(1), to: "LiWei", url: undefined, ttlMs: 1_000, urgency: "normal" } as const;
  expect(await refused.send(outgoing, running.signal)).toMatchObject({ outcome: "retry" });
  expect(sandbox.tokensGiven).toBe(2);
});

it("refuses a message to somebody whom the application cannot reach", async () => {
  expect(await send("p/1", "Nobody")).toMatchObject({ outcome: "refused" });
});

it("gives a single alert a button, and a summary none", async () => {
  await send("p/1");
  await send("p/2", "LiWei", 30);
  expect(sandbox.messages.map(({ card }) => card?.key)).toEqual(["acknowledge:SKU-1#1", undefined]);
});

it("acknowledges in the name of the person who presses the button, and replaces it", async () => {
  const { url, acknowledged } = await callbackServer();
  await send("p/1");
  const [message] = sandbox.messages as [WecomMessage];
  expect(await sandbox.press(message, url)).toBe(200);
  expect(acknowledged).toEqual([["SKU-1#1", { actor: "li.wei/wecom" }]]);
  await expect.poll(() => [...sandbox.updates.values()]).toEqual(["李伟 已确认"]);
  // WeCom repeats an event whose answer it did not get: harmless, and the button is replaced once.
  expect(await sandbox.press(message, url)).toBe(200);
});

it("shows on a later person's card who acknowledged first", async () => {
  const { url } = await callbackServer([PERSON], "wang/phone");
  await send("p/1");
  expect(await sandbox.press(sandbox.messages[0] as WecomMessage, url)).toBe(200);
  await expect.poll(() => [...sandbox.updates.values()]).toEqual(["wang/phone 已确认"]);
});

it("acknowledges nothing for a member who is no person of the deployment", async () => {
  const { url, acknowledged, troubles } = await callbackServer([]);
  await send("p/1");
  expect(await sandbox.press(sandbox.messages[0] as WecomMessage, url)).toBe(200);
  expect(acknowledged).toEqual([]);
  expect(troubles).toHaveLength(1);
});

const bodyOf = (encrypted: string) => `<xml><Encrypt><![CDATA[${encrypted}]]></Encrypt></xml>`;

async function post(url: string, body: string, query: Record<string, string>, type = "text/xml"): Promise<number> {
  const target = new URL(url);
  for (const [name, value] of Object.entries(query)) target.searchParams.set(name, value);
  const reply = await fetch(target, { method: "POST", body, headers: { "content-type": type } });
  await reply.text();
  return reply.status;
}

it("refuses whatever is not signed, for another corp, or no XML", async () => {
  const { url, acknowledged } = await callbackServer();
  const random = Buffer.alloc(16, 1);
  const event =
    "<xml><Event>template_card_event</Event><EventKey>acknowledge:A#1</EventKey><FromUserName>LiWei</FromUserName></xml>";
  const signed = (encrypted: string) => ({
    timestamp: "1",
    nonce: "n",
    msg_signature: signatureOf(token, "1", "n", encrypted),
  });
  const good = encrypt(event, SECRETS, random);
  const foreign = encrypt(event, { ...SECRETS, receiverId: "wwother" }, random);
  const bomb = `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>${bodyOf(good)}`;
  expect(await post(url, bodyOf(good), { ...signed(good), msg_signature: "0".repeat(40) })).toBe(403);
  expect(await post(url, bodyOf(good), { ...signed(good), timestamp: "2" })).toBe(403);
  expect(await post(url, bodyOf(foreign), signed(foreign))).toBe(403);
  expect(await post(url, bomb, signed(good))).toBe(403);
  expect(await post(url, "no xml", signed(good))).toBe(403);
  expect(await post(url, "", signed(good))).toBe(403);
  expect(await post(url, bodyOf(good), {})).toBe(400);
  expect(await post(url, "x".repeat(20_000), signed(good))).toBe(413);
  expect(acknowledged).toEqual([]);
  expect(await post(url, bodyOf(good), signed(good))).toBe(200);
  expect(acknowledged).toHaveLength(1);
});

it("answers the check of the address with the text that was encrypted", async () => {
  const { url } = await callbackServer();
  const encrypted = encrypt("echo-1234", SECRETS, Buffer.alloc(16, 2));
  const target = new URL(url);
  const query = {
    timestamp: "1",
    nonce: "n",
    msg_signature: signatureOf(token, "1", "n", encrypted),
    echostr: encrypted,
  };
  for (const [name, value] of Object.entries(query)) target.searchParams.set(name, value);
  expect(await (await fetch(target)).text()).toBe("echo-1234");
  target.searchParams.set("nonce", "m");
  expect((await fetch(target)).status).toBe(403);
});
