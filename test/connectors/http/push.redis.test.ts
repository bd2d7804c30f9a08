/**
 * The registration of browsers for Web Push over HTTP: by persons only, for themselves only, with hostile bodies
 * refused at their place, a limit of devices and of requests, and no address or private key in an answer.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { ROLES, type Role } from "../../../connectors/http/identity.js";
import { pushHostPolicy } from "../../../connectors/web-push/push-hosts.js";
import { pushRegistrations } from "../../../connectors/web-push/registration.js";
import { SandboxBrowser } from "../../../connectors/web-push/sandbox/browser.js";
import { MAX_DEVICES_EACH } from "../../../engine/alerting/device-store.js";
import { newKeys } from "../web-push/bed.js";
import { type Answer, httpBed, send } from "./http-bed.js";

const secretOf = (name: string) => `the-secret-of-${name}-0123456789`;
const tokens = ROLES.map((role) => `${role}.clerk:${role}:${secretOf(role)}`);
const bed = httpBed({ tokens });
const keys = newKeys();
const as = (role: Role) => ({ authorization: `Bearer ${secretOf(role)}` });
const browser = new SandboxBrowser();
const subscription = (n: string | number = 1) => ({
  ...{ endpoint: `https://fcm.googleapis.com/fcm/send/${n}`, keys: browser.keys, label: "iPhone" },
});

let port: number;
const ask = (method: string, path: string, headers: Record<string, string>, body?: unknown): Promise<Answer> =>
  send(port, method, path, { anonymous: true, headers, ...(body === undefined ? {} : { body }) });
const subscribe = (headers: Record<string, string>, body: unknown) =>
  ask("POST", "/v1/push/subscriptions", headers, body);

/** The headers of a phone that is paired with a new person. */
async function phoneOf(id: string): Promise<Record<string, string>> {
  await ask("PUT", `/v1/people/${id}`, as("admin"), { name: id, roles: [], language: "zh", ladder: [["web-push"]] });
  const { code } = (await ask("POST", `/v1/people/${id}/pairings`, as("admin"), { label: "iPhone" })).json;
  const { headers } = await ask("POST", "/v1/sessions", {}, { code });
  return { cookie: (headers["set-cookie"]?.[0] ?? "").split(";")[0] as string, origin: `http://127.0.0.1:${port}` };
}

beforeEach(async () => {
  const { devices } = bed.deps().alerting;
  const push = pushRegistrations({ devices, keys, hosts: pushHostPolicy([]) });
  ({ port } = await bed.another({ tokens, push }));
});

describe("the key", () => {
  it("is public for every role, and its private half is nowhere", async () => {
    for (const role of ROLES) {
      const { status, json } = await ask("GET", "/v1/push/key", as(role));
      expect([status, json]).toEqual([
        200,
        { publicKey: keys.publicKey, since: new Date(keys.createdMs).toISOString() },
      ]);
    }
    expect((await ask("GET", "/v1/push/key", {})).status).toBe(401);
  });

  it("does not exist without a subject, and neither does a registration", async () => {
    const phone = await phoneOf("li");
    port = bed.port;
    const own = { ...phone, origin: `http://127.0.0.1:${port}` };
    expect((await ask("GET", "/v1/push/key", as("read"))).json).toMatchObject({
      status: 404,
      code: "push_not_configured",
    });
    expect((await subscribe(own, subscription())).json).toMatchObject({ status: 404, code: "push_not_configured" });
  });
});

describe("a subscription", () => {
  it("is the person's device, once, and can be removed", async () => {
    const phone = await phoneOf("wang");
    const first = await subscribe(phone, { ...subscription(), expirationTime: null });
    expect([first.status, first.json]).toEqual([
      201,
      { id: expect.stringMatching(/^[\w-]{16}$/), label: "iPhone", since: expect.any(String) },
    ]);
    const again = await subscribe(phone, { ...subscription(), label: "My phone" });
    expect(again.json).toEqual({ ...first.json, label: "My phone" });
    const { devices } = (await ask("GET", "/v1/people/me/devices", phone)).json;
    expect(devices).toEqual([expect.objectContaining({ id: first.json.id, silentPushes: 0 })]);
    expect(JSON.stringify(devices)).not.toContain("fcm");
    expect((await ask("DELETE", `/v1/people/me/devices/${first.json.id}`, phone)).status).toBe(204);
  });

  it("is refused without a person's session, whatever the role", async () => {
    for (const role of ROLES) expect((await subscribe(as(role), subscription())).status).toBe(403);
    expect((await subscribe({}, subscription())).status).toBe(401);
  });

  it("from another site is refused", async () => {
    const phone = await phoneOf("zhou");
    expect((await subscribe({ ...phone, origin: "https://evil.com" }, subscription())).status).toBe(403);
  });

  it.each<[what: string, change: object, field: string]>([
    ["an address inside the network", { endpoint: "https://10.0.0.1/x" }, "endpoint"],
    ["an address of this machine", { endpoint: "https://0x7f.1/x" }, "endpoint"],
    ["an address of metadata", { endpoint: "http://169.254.169.254/latest" }, "endpoint"],
    ["another host", { endpoint: "https://fcm.googleapis.com.evil.com/x" }, "endpoint"],
    ["a user name", { endpoint: "https://fcm.googleapis.com@evil.com/x" }, "endpoint"],
    ["an address without end", { endpoint: `https://fcm.googleapis.com/${"x".repeat(3_000)}` }, "endpoint"],
    ["no address", { endpoint: 7 }, "endpoint"],
    ["a key that is no point", { keys: { ...browser.keys, p256dh: "A".repeat(87) } }, "keys.p256dh"],
    ["a short secret", { keys: { ...browser.keys, auth: "AAAA" } }, "keys.auth"],
    ["no keys", { keys: null }, "keys"],
    ["an unknown field", { person: "wang" }, "person"],
    ["a label with control characters", { label: "a\u0000" }, "label"],
  ])("with %s is refused at its place", async (_what, change, field) => {
    const { status, json } = await subscribe(await phoneOf("zhao"), { ...subscription(), ...change });
    expect([status, json.code]).toEqual([400, "bad_input"]);
    expect(json.errors.map((each: { field: string }) => each.field)).toContain(field);
  });

  it("of one person has a limit", async () => {
    const phone = await phoneOf("qian");
    for (let n = 0; n < MAX_DEVICES_EACH; n++) expect((await subscribe(phone, subscription(`q${n}`))).status).toBe(201);
    expect((await subscribe(phone, subscription("q-more"))).json.code).toBe("too_many_devices");
    expect((await subscribe(phone, subscription("q0"))).status).toBe(201);
  });

  it("sent again and again is slowed down, and no other person is", async () => {
    const [phone, other] = [await phoneOf("sun"), await phoneOf("li")];
    const statuses = await Promise.all(Array.from({ length: 70 }, () => subscribe(phone, subscription("s"))));
    const refused = statuses.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.headers["retry-after"]).toBe("60");
    expect((await subscribe(other, subscription("l"))).status).toBe(201);
  });
});
