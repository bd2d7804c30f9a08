/**
 * `shuiwei alerts`: what a test message has reached is printed once, step by step, and an address that did not accept
 * it is a failure. The server is a plain one that answers as the HTTP API does.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { command } from "../../engine/cli/alerts.js";
import { runCommand } from "./run-command.js";

let server: Server;
let printed: string[];
let requests: string[];
/** The answers about the test, the last one again and again. */
let answers: object[];

beforeEach(async () => {
  [printed, requests] = [[], []];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => printed.push(String(text).trim()) > 0);
  server = createServer(async (request, reply) => {
    let body = "";
    for await (const part of request) body += part;
    requests.push(`${request.method} ${request.url} ${body}`.trim());
    const isTest = request.url === "/v1/notification-tests/t%2F1";
    const next = answers.length > 1 ? answers.shift() : answers[0];
    const answer = request.method === "POST" ? { testId: "t/1" } : isTest ? { deliveries: next } : next;
    reply.setHeader("content-type", "application/json").end(JSON.stringify(answer));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(async () => {
  vi.restoreAllMocks();
  server.close();
  server.closeAllConnections();
  await once(server, "close");
});

const optionsOf = (changes = {}) => ({
  server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  ...{ token: "a-token-of-the-test", to: "person:li.wei", waitMs: 20_000, json: false },
  ...changes,
});
const SENT = "2026-11-30T08:00:00.000Z";
const phone = { recipient: "person:li.wei", channel: "web-push", to: "phone-1", sentAt: SENT };
const robot = { recipient: "person:li.wei", channel: "dingtalk", to: "buyers", sentAt: SENT };

it("prints every step with the time since it was sent, each once", async () => {
  const accepted = { ...phone, acceptedAt: "2026-11-30T08:00:00.400Z" };
  const robotAccepted = { ...robot, acceptedAt: "2026-11-30T08:00:01.000Z" };
  answers = [
    [],
    [phone, robot],
    [accepted, robotAccepted],
    [{ ...accepted, displayedAt: "2026-11-30T08:00:02.100Z" }, robotAccepted],
  ] as object[];
  await runCommand(command, optionsOf(), ["test"]);
  expect(requests[0]).toBe('POST /v1/notification-tests {"to":"person:li.wei"}');
  expect(printed.map((line) => line.replaceAll(/ +/g, " "))).toEqual([
    "test t/1 to person:li.wei",
    `web-push phone-1 sent ${SENT}`,
    `dingtalk buyers sent ${SENT}`,
    "web-push phone-1 accepted after 0.4 s",
    "dingtalk buyers accepted after 1.0 s",
    "web-push phone-1 displayed after 2.1 s",
  ]);
});

it("fails when an address has not accepted, with the reason", async () => {
  answers = [[{ ...robot, failure: "HTTP \u001b[31m400" }]];
  await expect(runCommand(command, optionsOf(), ["test"])).rejects.toThrow("1 address of 1 did not accept the test");
  expect(printed.at(-1)).toContain("failed    HTTP \\u001b[31m400");
});

it("fails when nothing was sent", async () => {
  answers = [[]];
  const running = runCommand(command, optionsOf({ waitMs: 1_000 }), ["test"]);
  await expect(running).rejects.toThrow("nothing was sent to person:li.wei");
});

it("lists open alerts", async () => {
  const alert = { id: "TEA#3", rule: "depletion", severity: "warning", state: "fired", firedAt: SENT };
  answers = [{ alerts: [alert, { ...alert, id: "TEA#4", state: "acknowledged", acknowledgedBy: "li.wei/iPhone" }] }];
  await runCommand(command, optionsOf({ to: undefined }), ["list"]);
  expect(requests).toEqual(["GET /v1/alerts?state=open"]);
  expect(printed.map((line) => line.replaceAll(/ +/g, " "))).toEqual([
    `warning depletion TEA#3 since ${SENT}, fired`,
    `warning depletion TEA#4 since ${SENT}, acknowledged by li.wei/iPhone`,
  ]);
});

it("rejects what is no action, and a test without a recipient", async () => {
  answers = [];
  await expect(runCommand(command, optionsOf(), ["send"])).rejects.toThrow("must be test or list");
  await expect(runCommand(command, optionsOf({ to: undefined }), ["test"])).rejects.toThrow("--to");
});
