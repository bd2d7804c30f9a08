/**
 * The address that WeCom calls needs no token, so anybody can send to it. On a whole server: senders of slow bodies use
 * none of the requests for orders and are cut off, a proxy may call it by any host name, and only what is signed
 * acknowledges.
 */
import { connect, type Socket } from "node:net";
import { afterAll, expect, it } from "vitest";
import { encrypt, signatureOf } from "../../../connectors/wecom/callback-crypto.js";
import { openCallback } from "../../../connectors/wecom/callback-routes.js";
import { WECOM_SANDBOX } from "../../../connectors/wecom/sandbox.js";
import { httpBed } from "../http/http-bed.js";

const { corpId, agentId, corpSecret, callbackToken: token, callbackAesKey: aesKey } = WECOM_SANDBOX;
const UNDER_WAY = 4;
const PATH = "/v1/callbacks/wecom";

const acknowledged: unknown[] = [];
const opened = openCallback({ corpId, agentId, secret: corpSecret, callback: { token, aesKey } }, { token, aesKey }, {
  alerting: { people: { list: async () => [{ id: "li.wei", name: "李伟", language: "zh", wecomUserId: "liwei" }] } },
  alertRequests: {
    acknowledge: async (...request: unknown[]) => {
      acknowledged.push(request);
      return { outcome: "unknown" };
    },
  },
  onTrouble: () => {},
} as unknown as Parameters<typeof openCallback>[2]);
afterAll(() => opened.close?.());

const bed = httpBed({
  maxUnderWay: UNDER_WAY,
  isAllowedHost: (host) => host !== "proxy.inside",
  routes: [(server, { authorize, callbacks }) => opened.routes?.(server, authorize, callbacks)],
});

function slowSender(): Promise<{ socket: Socket; answer: Promise<string> }> {
  const socket = connect(bed.port, "127.0.0.1");
  let text = "";
  const answer = new Promise<string>((resolve) => {
    socket.on("data", (part) => {
      text += part.toString();
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
  return new Promise((resolve) =>
    socket.on("connect", () => {
      const query = "msg_signature=0&timestamp=1&nonce=n";
      socket.write(
        `POST ${PATH}?${query} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/xml\r\ncontent-length: 9000\r\n\r\n<xml>`,
      );
      resolve({ socket, answer });
    }),
  );
}

it("serves orders while others send slow bodies to the callback, and cuts them off", async () => {
  const senders = await Promise.all(Array.from({ length: 3 * UNDER_WAY }, slowSender));
  await expect.poll(async () => (await bed.send("GET", "/v1/alerts")).status).toBe(200);
  for (let request = 0; request < UNDER_WAY; request++)
    expect((await bed.send("POST", "/v1/ids", { body: {} })).status).toBe(200);
  for (const { answer } of senders) expect(await answer).toMatch(/^HTTP\/1\.1 408 /);
});

it("accepts a signed event under any host name, whatever the case of the user id", async () => {
  const event =
    "<xml><Event>template_card_event</Event><EventKey>acknowledge:A#1</EventKey><FromUserName>LiWei</FromUserName></xml>";
  const encrypted = encrypt(event, { token, aesKey, receiverId: corpId }, Buffer.alloc(16, 1));
  const query = new URLSearchParams({
    ...{ timestamp: "1", nonce: "n" },
    msg_signature: signatureOf(token, "1", "n", encrypted),
  });
  const body = `<xml><Encrypt><![CDATA[${encrypted}]]></Encrypt></xml>`;
  const headers = { "content-type": "text/xml", host: "proxy.inside" };
  const post = (text: string, changed = {}) =>
    bed.send("POST", `${PATH}?${query}`, { anonymous: true, body: text, headers: { ...headers, ...changed } });
  expect((await post(body)).status).toBe(200);
  expect(acknowledged).toEqual([["A#1", { actor: "li.wei/wecom" }]]);
  expect((await post(body.replace("xml", "XML"))).status).toBe(403);
  expect((await post("{}", { "content-type": "application/json" })).status).toBe(403);
  expect((await post(body, { "content-type": "application/x-www-form-urlencoded" })).status).toBe(415);
  expect((await post("<a>".repeat(5_000))).status).toBe(403);
  expect(acknowledged).toHaveLength(1);
});
