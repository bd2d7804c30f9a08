/**
 * People and their phones over HTTP: who may change what, what a phone paired with a person may do, that nobody reaches
 * another person's settings or devices, and that a removed person is out at once, a pairing code that is still open
 * included.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ROLES, type Role } from "../../../connectors/http/identity.js";
import { deviceIdOf } from "../../../engine/alerting/device-store.js";
import type { Device } from "../../../engine/alerting/people.js";
import type { RunningServer } from "../../../engine/app/server.js";
import { type Answer, httpBed, send } from "./http-bed.js";

const secretOf = (name: string) => `the-secret-of-${name}-0123456789`;
const bed = httpBed({ tokens: ROLES.map((role) => `${role}.clerk:${role}:${secretOf(role)}`) });
const as = (role: Role) => ({ authorization: `Bearer ${secretOf(role)}` });
const ask = (method: string, path: string, headers: Record<string, string>, body?: unknown): Promise<Answer> =>
  send(bed.port, method, path, { anonymous: true, headers, ...(body === undefined ? {} : { body }) });
const own = () => `http://127.0.0.1:${bed.port}`;

const li = { name: "李伟", roles: ["purchasing"], language: "zh", ladder: [["web-push"], ["endpoint:ops"]] };
const wang = { name: "Wang", roles: ["warehouse"], language: "en", ladder: [["web-push"]] };

/** The headers of a phone that is paired with a person. */
async function phoneOf(id: string, port = bed.port): Promise<Record<string, string>> {
  const { code } = (await ask("POST", `/v1/people/${id}/pairings`, as("admin"), { label: "iPhone" })).json;
  const { headers } = await send(port, "POST", "/v1/sessions", { anonymous: true, body: { code } });
  return { cookie: (headers["set-cookie"]?.[0] ?? "").split(";")[0] as string, origin: own() };
}

async function register(person: string, address: string): Promise<Device> {
  const { alerting } = bed.deps();
  const device = { id: deviceIdOf(address), person, label: "iPhone", channel: "web-push", address } as const;
  const registered = await alerting.devices.register(device);
  if (registered === "too_many") throw new Error("too many devices");
  return registered;
}

beforeEach(async () => {
  await ask("PUT", "/v1/people/li.wei", as("admin"), li);
  await ask("PUT", "/v1/people/wang", as("admin"), wang);
});

describe("people", () => {
  it("are added and replaced by an administrator, and listed", async () => {
    const quietHours = { fromMinute: 1_380, toMinute: 420 };
    expect((await ask("PUT", "/v1/people/zhao", as("admin"), wang)).status).toBe(201);
    const replaced = await ask("PUT", "/v1/people/zhao", as("admin"), { ...wang, wecomUserId: "Zhao", quietHours });
    expect(replaced.status).toBe(200);
    expect(replaced.json).toEqual({ id: "zhao", ...wang, wecomUserId: "Zhao", quietHours });
    const { people } = (await ask("GET", "/v1/people", as("read"))).json;
    expect(people).toEqual([{ id: "li.wei", ...li }, { id: "wang", ...wang }, replaced.json]);
    expect((await ask("GET", "/v1/people/zhao", as("read"))).json).toEqual(replaced.json);
    expect((await ask("DELETE", "/v1/people/zhao", as("admin"))).status).toBe(204);
    expect((await ask("DELETE", "/v1/people/zhao", as("admin"))).json.code).toBe("unknown_person");
    expect((await ask("GET", "/v1/people/zhao", as("read"))).json.code).toBe("unknown_person");
  });

  it.each<[what: string, path: string, body: unknown, field: string]>([
    ["an id with capitals", "/v1/people/Li", wang, "id"],
    ["an id with a slash", "/v1/people/li%2Fidentity", wang, "id"],
    ["the id of the caller's own path", "/v1/people/me", wang, ""],
    ["an unknown field", "/v1/people/x", { ...wang, admin: true }, "admin"],
    ["a contact that does not exist", "/v1/people/x", { ...wang, ladder: [["telegram"]] }, "ladder[0][0]"],
    ["an empty step", "/v1/people/x", { ...wang, ladder: [[]] }, "ladder[0]"],
    ["a ladder without end", "/v1/people/x", { ...wang, ladder: Array(9).fill(["wecom"]) }, "ladder"],
    ["a role that is no word", "/v1/people/x", { ...wang, roles: ["everybody else"] }, "roles[0]"],
    ["a language without texts", "/v1/people/x", { ...wang, language: "fr" }, "language"],
    [
      "quiet hours beyond the day",
      "/v1/people/x",
      { ...wang, quietHours: { fromMinute: 0, toMinute: 1_440 } },
      "quietHours.toMinute",
    ],
    ["a name with control characters", "/v1/people/x", { ...wang, name: "a\u0000b" }, "name"],
  ])("are refused with %s", async (_, path, body, field) => {
    const { status, json } = await ask("PUT", path, as("admin"), body);
    expect([400, 405]).toContain(status);
    if (status === 400) expect(json.errors.map((each: { field: string }) => each.field)).toContain(field);
  });
});

describe("access", () => {
  type Caller = Role | "li.wei" | "nobody";
  const CALLERS: readonly Caller[] = [...ROLES, "li.wei", "nobody"];
  const headers = new Map<Caller, Record<string, string>>();
  beforeAll(async () => {
    await ask("PUT", "/v1/people/li.wei", as("admin"), li);
    for (const role of ROLES) headers.set(role, as(role));
    headers.set("li.wei", await phoneOf("li.wei"));
    headers.set("nobody", {});
  });

  const PERSON: Caller[] = ["li.wei"];
  const READERS: Caller[] = [...ROLES, "li.wei"];
  const ROUTES: [method: string, path: string, allowed: Caller[], body?: object][] = [
    ["GET", "/v1/people", READERS],
    ["GET", "/v1/people/wang", READERS],
    ["PUT", "/v1/people/unreal", ["admin"], {}],
    ["DELETE", "/v1/people/unreal", ["admin"]],
    ["POST", "/v1/people/wang/pairings", ["admin"], {}],
    ["GET", "/v1/people/me", PERSON],
    ["PATCH", "/v1/people/me", PERSON, {}],
    ["GET", "/v1/people/me/devices", PERSON],
    ["DELETE", "/v1/people/me/devices/AAAAAAAAAAAAAAAA", PERSON],
  ];
  it.each(ROUTES)("to %s %s", async (...[method, path, allowed, body]) => {
    for (const caller of CALLERS) {
      const { status } = await ask(method, path, headers.get(caller) ?? {}, body);
      if (caller === "nobody") expect(status, caller).toBe(401);
      else if (allowed.includes(caller)) expect([401, 403], caller).not.toContain(status);
      else expect(status, caller).toBe(403);
    }
  });
});

describe("a phone", () => {
  it("is its person's, with the role read and the person's name as actor", async () => {
    const phone = await phoneOf("li.wei");
    expect((await ask("GET", "/v1/sessions/current", phone)).json).toEqual({
      name: "li.wei/iPhone",
      role: "read",
      person: "li.wei",
    });
    expect((await ask("GET", "/v1/people/me", phone)).json).toEqual({ id: "li.wei", ...li });
    expect((await ask("POST", "/v1/ids", phone)).status).toBe(403);
  });

  it("changes the settings that it names, and no other's", async () => {
    const phone = await phoneOf("li.wei");
    const quietHours = { fromMinute: 1_320, toMinute: 480 };
    const changed = await ask("PATCH", "/v1/people/me", phone, { language: "en", quietHours });
    expect(changed.json).toEqual({ id: "li.wei", ...li, language: "en", quietHours });
    expect((await ask("PATCH", "/v1/people/me", phone, { quietHours: null })).json).toEqual({
      ...{ id: "li.wei", ...li },
      language: "en",
    });
    for (const body of [{}, { roles: ["operations"] }, { id: "wang" }, { name: "boss" }, { quietHours: {} }, []])
      expect((await ask("PATCH", "/v1/people/me", phone, body)).status).toBe(400);
    expect((await ask("GET", "/v1/people/wang", phone)).json).toEqual({ id: "wang", ...wang });
  });

  it("lists and removes its person's devices only, and sees no address", async () => {
    const phone = await phoneOf("li.wei");
    const [mine, other] = [await register("li.wei", "https://push/secret"), await register("wang", "https://push/w")];
    const listed = await ask("GET", "/v1/people/me/devices", phone);
    expect(listed.json.devices).toMatchObject([{ id: mine.id, label: "iPhone", silentPushes: 0 }]);
    expect(listed.text).not.toContain("secret");
    expect((await ask("DELETE", `/v1/people/me/devices/${other.id}`, phone)).json.code).toBe("unknown_device");
    expect((await ask("DELETE", `/v1/people/me/devices/${mine.id}`, phone)).status).toBe(204);
    expect((await bed.deps().alerting.devices.of("wang")).map(({ id }) => id)).toEqual([other.id]);
  });

  it("writes from pages of this server only", async () => {
    const { cookie } = await phoneOf("li.wei");
    for (const origin of [{}, { origin: "https://evil.example" }] as Record<string, string>[])
      expect(
        (await ask("PATCH", "/v1/people/me", { cookie: cookie as string, ...origin }, { language: "en" })).json.code,
      ).toBe("forbidden_origin");
  });
});

describe("a person who is removed", () => {
  it("is out at every process: sessions, devices, and a code that is still open", async () => {
    const elsewhere = await bed.another({ tokens: [`admin.clerk:admin:${secretOf("admin")}`] });
    const phone = await phoneOf("wang", elsewhere.port);
    const { code } = (await ask("POST", "/v1/people/wang/pairings", as("admin"), {})).json;
    const unused = (await ask("POST", "/v1/people/wang/pairings", as("admin"), {})).json.code;
    await register("wang", "https://push/wang");
    const at = (server: RunningServer | { port: number }) =>
      send(server.port, "GET", "/v1/people/me", { anonymous: true, headers: phone });
    expect((await at(elsewhere)).status).toBe(200);
    expect((await ask("DELETE", "/v1/people/wang", as("admin"))).status).toBe(204);
    await expect.poll(async () => (await at(elsewhere)).status).toBe(401);
    const late = await send(bed.port, "POST", "/v1/sessions", { anonymous: true, body: { code } });
    const cookie = (late.headers["set-cookie"]?.[0] ?? "").split(";")[0] as string;
    expect((await ask("GET", "/v1/people/me", { cookie })).status).toBe(401);
    expect(await bed.deps().alerting.devices.of("wang")).toEqual([]);
    // Who gets the same id later is another person.
    await ask("PUT", "/v1/people/wang", as("admin"), wang);
    expect((await ask("GET", "/v1/people/me", { cookie })).status).toBe(401);
    expect((await at(bed)).status).toBe(401);
    const later = await send(bed.port, "POST", "/v1/sessions", { anonymous: true, body: { code: unused } });
    expect(later.status).toBe(401);
    expect((await ask("GET", "/v1/people/me", await phoneOf("wang"))).json.id).toBe("wang");
  });
});

describe("an open demo", () => {
  it("is the demo's person, or the one whose link the browser was paired with", async () => {
    const demo = await bed.another({ open: true, tokens: [] });
    const at = (method: string, path: string, headers: Record<string, string> = {}, body?: unknown) =>
      send(demo.port, method, path, { anonymous: true, headers, ...(body === undefined ? {} : { body }) });
    expect((await at("GET", "/v1/people/me")).json.code).toBe("unknown_person");
    await at("PUT", "/v1/people/demo", {}, wang);
    expect((await at("GET", "/v1/people/me")).json.id).toBe("demo");
    const { code } = (await at("POST", "/v1/people/li.wei/pairings", {}, {})).json;
    const { headers } = await at("POST", "/v1/sessions", {}, { code });
    const cookie = (headers["set-cookie"]?.[0] ?? "").split(";")[0] as string;
    expect((await at("GET", "/v1/people/me", { cookie })).json.id).toBe("li.wei");
    expect((await at("GET", "/v1/people/me", { cookie: "shuiwei_session=another-server's" })).json.id).toBe("demo");
    expect((await at("PUT", "/v1/people/demo", { cookie }, wang)).status).toBe(200);
  });
});
