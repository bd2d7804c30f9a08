/**
 * What people do about alerts with their phones, over HTTP: acknowledge and silence alerts of any rule, report what a
 * phone has displayed, and test what reaches them. Who may do what is tried for every route and caller, and nobody
 * reaches what is another person's.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { ROLES, type Role } from "../../../connectors/http/identity.js";
import { deviceIdOf } from "../../../engine/alerting/device-store.js";
import { type Recipient, TEST_EVENT } from "../../../engine/alerting/notification.js";
import { type Answer, httpBed, send } from "./http-bed.js";

const secretOf = (name: string) => `the-secret-of-${name}-0123456789`;
const bed = httpBed({ tokens: ROLES.map((role) => `${role}.clerk:${role}:${secretOf(role)}`) });
const as = (role: Role) => ({ authorization: `Bearer ${secretOf(role)}` });
const ask = (method: string, path: string, headers: Record<string, string>, body?: unknown): Promise<Answer> =>
  send(bed.port, method, path, { anonymous: true, headers, ...(body === undefined ? {} : { body }) });

let li: Record<string, string>;
let wang: Record<string, string>;
const [phone, other] = [deviceIdOf("https://push/li"), deviceIdOf("https://push/wang")];

async function pair(id: string): Promise<Record<string, string>> {
  const person = { name: id, roles: [], language: "zh", ladder: [["web-push"]] };
  await ask("PUT", `/v1/people/${id}`, as("admin"), person);
  const { code } = (await ask("POST", `/v1/people/${id}/pairings`, as("admin"), {})).json;
  const { headers } = await ask("POST", "/v1/sessions", {}, { code });
  const cookie = (headers["set-cookie"]?.[0] ?? "").split(";")[0] as string;
  return { cookie, origin: `http://127.0.0.1:${bed.port}` };
}

beforeAll(async () => {
  [li, wang] = [await pair("li.wei"), await pair("wang")];
  const { devices } = bed.deps().alerting;
  const device = { label: "iPhone", channel: "web-push", address: "secret" } as const;
  await devices.register({ ...device, id: phone, person: "li.wei" });
  await devices.register({ ...device, id: other, person: "wang" });
});

describe("access", () => {
  type Caller = Role | "li.wei" | "nobody";
  const CALLERS: readonly Caller[] = [...ROLES, "li.wei", "nobody"];
  const READERS: Caller[] = [...ROLES, "li.wei"];
  const ACTING: Caller[] = ["operate", "admin", "li.wei"];
  const ROUTES: [method: string, path: string, allowed: Caller[], body?: object][] = [
    ["GET", "/v1/alerts", READERS],
    ["GET", "/v1/alerts/TEA%231", READERS],
    ["POST", "/v1/alerts/TEA%231/acknowledgement", ACTING, {}],
    ["GET", "/v1/silences", READERS],
    ["POST", "/v1/silences", ACTING, {}],
    ["DELETE", "/v1/silences/AAAAAAAAAAAAAAAA", ACTING],
    ["GET", "/v1/endpoints", READERS],
    ["GET", "/v1/notifications", READERS],
    ["GET", "/v1/notifications?recipient=person:li.wei", ACTING],
    ["GET", "/v1/notifications?recipient=person:wang", ["operate", "admin"]],
    ["POST", "/v1/notification-tests", ACTING, {}],
    ["POST", "/v1/notification-tests", ACTING, { to: "person:li.wei" }],
    ["POST", "/v1/notification-tests", ["operate", "admin"], { to: "person:wang" }],
    ["GET", "/v1/notification-tests/AAAAAAAAAAAA", READERS],
    ["POST", "/v1/notifications/person:li.wei%2F1/displayed", ["li.wei"], { device: phone }],
    ["POST", "/v1/notifications/person:wang%2F1/displayed", [], { device: phone }],
  ];
  it.each(ROUTES)("to %s %s", async (...[method, path, allowed, body]) => {
    for (const caller of CALLERS) {
      const headers = caller === "nobody" ? {} : caller === "li.wei" ? li : as(caller);
      const { status } = await ask(method, path, headers, body);
      if (caller === "nobody") expect(status, caller).toBe(401);
      else if (allowed.includes(caller)) expect([401, 403], caller).not.toContain(status);
      else expect(status, caller).toBe(403);
    }
  });
});

describe("an alert", () => {
  it("of a breaker is listed, acknowledged by a phone, and shown with who was notified", async () => {
    const change = { scope: { kind: "sku", sku: "BR" }, actor: "x", reason: "count differs" };
    await ask("POST", "/v1/breaker", as("operate"), { action: "open", ...change });
    const find = async () => (await ask("GET", "/v1/alerts?rule=breaker", li)).json.alerts[0];
    await expect.poll(find, { timeout: 30_000 }).toMatchObject({
      ...{ rule: "breaker", subject: "sku:BR", severity: "critical", state: "fired", reason: "count differs" },
    });
    const { id } = await find();
    expect((await ask("GET", "/v1/alerts?rule=breaker&severity=warning", li)).json.alerts).toEqual([]);
    const path = `/v1/alerts/${encodeURIComponent(id)}`;
    const acknowledged = await ask("POST", `${path}/acknowledgement`, li, {});
    expect([acknowledged.status, acknowledged.json]).toEqual([
      202,
      { id, acknowledgedBy: "li.wei/phone", repeated: false },
    ]);
    await expect
      .poll(async () => (await ask("GET", path, wang)).json, { timeout: 30_000 })
      .toMatchObject({ id, acknowledgedBy: "li.wei/phone", level: expect.any(Number), deliveries: [] });
    const again = await ask("POST", `${path}/acknowledgement`, wang, {});
    expect([again.status, again.json.acknowledgedBy]).toEqual([200, "li.wei/phone"]);
    await ask("POST", "/v1/breaker", as("operate"), { action: "close", ...change });
  });
});

describe("a silence", () => {
  it("is added once by a phone, listed, and ended by another person", async () => {
    const until = new Date(bed.deps().clock.now() + 3_600_000).toISOString();
    const body = { sku: "TEA", until, reason: "promotion" };
    const added = await ask("POST", "/v1/silences", li, body);
    expect([added.status, added.json]).toEqual([
      201,
      { ...body, id: added.json.id, actor: "li.wei/phone", createdAt: expect.any(String), active: true },
    ]);
    expect((await ask("POST", "/v1/silences", li, body)).json.id).toBe(added.json.id);
    expect((await ask("GET", "/v1/silences", as("read"))).json.silences).toEqual([added.json]);
    const ended = await ask("DELETE", `/v1/silences/${added.json.id}`, wang);
    expect(ended.json).toMatchObject({ id: added.json.id, active: false, endedBy: "wang/phone" });
    expect((await ask("DELETE", "/v1/silences/AAAAAAAAAAAAAAAA", wang)).json.code).toBe("unknown_silence");
  });

  it.each<[what: string, body: object]>([
    ["nothing that it matches", { forMs: 60_000, reason: "r" }],
    ["no end", { sku: "A", reason: "r" }],
    ["two ends", { sku: "A", forMs: 60_000, until: "2030-01-01T00:00:00Z", reason: "r" }],
    ["an end in the past", { sku: "A", until: "2020-01-01T00:00:00Z", reason: "r" }],
    ["an end in years", { sku: "A", until: "2099-01-01T00:00:00Z", reason: "r" }],
    ["an end that is no instant", { sku: "A", until: "tomorrow", reason: "r" }],
    ["no reason", { sku: "A", forMs: 60_000 }],
    ["an unknown rule", { rule: "everything", forMs: 60_000, reason: "r" }],
    ["an unknown field", { sku: "A", forMs: 60_000, reason: "r", actor2: "x" }],
  ])("is refused with %s", async (_, body) => {
    expect((await ask("POST", "/v1/silences", li, body)).json.code).toBe("bad_input");
  });
});

describe("a message", () => {
  const traits = { perMinute: 30, confirmsDisplay: true, sendsChanges: true };
  const recipient: Recipient = {
    ...{ key: "person:li.wei", language: "zh", ladder: [[{ channel: "web-push", to: phone, traits }]] },
  };

  it("is displayed when its person's phone reports it, and on no other report", async () => {
    const test = { id: "t", key: recipient.key, kind: TEST_EVENT };
    await bed.deps().appendNotifications([{ ...test, payload: { testId: "AAAAAAAAAAAA", actor: "x", recipient } }]);
    const read = async () => (await ask("GET", "/v1/notification-tests/AAAAAAAAAAAA", li)).json.deliveries[0];
    await expect.poll(read, { timeout: 30_000 }).toMatchObject({ recipient: "person:li.wei", to: phone });
    const { messageId } = await read();
    const path = `/v1/notifications/${encodeURIComponent(messageId)}/displayed`;
    expect((await ask("POST", path, wang, { device: other })).status).toBe(403);
    expect((await ask("POST", path, li, { device: other })).json.code).toBe("unknown_device");
    for (const body of [{}, { device: "short" }, { device: phone, result: "acknowledged" }])
      expect((await ask("POST", path, li, body)).status).toBe(400);
    expect(await read()).not.toHaveProperty("displayedAt");
    for (const _ of [1, 2]) expect((await ask("POST", path, li, { device: phone })).status).toBe(204);
    await expect.poll(read, { timeout: 30_000 }).toHaveProperty("displayedAt");
    expect((await ask("GET", "/v1/people/me/devices", li)).json.devices[0]).toHaveProperty("displayedAt");
    expect((await ask("GET", "/v1/notifications", li)).json.deliveries).toMatchObject([{ messageId }]);
    expect((await ask("GET", "/v1/notifications", wang)).json.deliveries).toEqual([]);
  });

  it("of a test is refused for who cannot be reached", async () => {
    for (const to of ["person:unreal", "endpoint:unreal", "person:wang"])
      expect((await ask("POST", "/v1/notification-tests", as("operate"), { to })).json.code).toBe("not_reachable");
  });
});
