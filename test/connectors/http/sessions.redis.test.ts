/**
 * Sessions of browsers, from the pairing code to the end: a code works once, the cookie opens what its role may see
 * and nothing else, other sites cannot use it, and a session that was revoked is refused, its open screens included.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { Sessions } from "../../../connectors/http/index.js";
import { type Feed, type FeedRole, wholeState } from "../../../dashboards/feed.js";
import { Gateway } from "../../../dashboards/gateway.js";
import { decodeServerFrame, encodeClientFrame, LIVE_PATH, type ServerFrame } from "../../../dashboards/protocol.js";
import type { RunningServer } from "../../../engine/app/server.js";
import { monotonicClock, systemClock } from "../../../engine/kernel/clock.js";
import { type Answer, httpBed, type Sending, send } from "./http-bed.js";

const secretOf = (name: string) => `the-secret-of-${name}-0123456789`;
const bed = httpBed({ tokens: [`li.wei:operate:${secretOf("li.wei")}`, `boss:admin:${secretOf("boss")}`] });
const as = (name: string) => ({ authorization: `Bearer ${secretOf(name)}` });
const feedFor = (role: FeedRole): Feed => ({ name: `for-${role}`, role, open: () => wholeState(() => ({ role })) });
const feeds = [feedFor("read"), feedFor("operate")];

let server: RunningServer;
let webRoot: string;
beforeAll(async () => {
  webRoot = await mkdtemp(join(tmpdir(), "shuiwei-web-"));
  await writeFile(join(webRoot, "index.html"), "<!doctype html><title>wall</title>");
  await writeFile(join(webRoot, "secret.js"), "1;");
  const gateway = new Gateway({
    feeds: [feedFor("read"), feedFor("operate")],
    clock: systemClock,
    tickMs: 50,
    maxClients: 10,
  });
  const tokens = [`li.wei:operate:${secretOf("li.wei")}`, `boss:admin:${secretOf("boss")}`];
  server = await bed.another({ tokens, webRoot, gateway, allowedHosts: ["wall.shop.example"] });
});
afterAll(() => rm(webRoot, { recursive: true }));

const ask = (method: string, path: string, headers: Record<string, string> = {}, body?: unknown): Promise<Answer> => {
  const sending: Sending = { anonymous: true, headers, ...(body === undefined ? {} : { body }) };
  return send(server.port, method, path, sending);
};
const pairing = (name: string, body: object = {}) => ask("POST", "/v1/sessions/pairings", as(name), body);
/** Pairs a browser and gives its cookie. */
async function paired(name = "li.wei", body: object = {}): Promise<string> {
  const { code } = (await pairing(name, body)).json;
  const { headers } = await ask("POST", "/v1/sessions", {}, { code });
  return (headers["set-cookie"]?.[0] ?? "").split(";")[0] as string;
}
const own = () => `http://127.0.0.1:${server.port}`;

/** Opens the live view. Gives `open`, or the status of the refusal. */
const live = (headers: Record<string, string>): Promise<{ outcome: "open" | number; socket: WebSocket }> =>
  new Promise((resolve) => {
    const socket = new WebSocket(`ws://127.0.0.1:${server.port}/v1/live`, { headers });
    socket.on("open", () => resolve({ outcome: "open", socket }));
    socket.on("unexpected-response", (_, response) => resolve({ outcome: response.statusCode ?? 0, socket }));
    socket.on("error", () => {});
  });

/** Subscribes to every feed. Gives the names of those that are sent. */
async function feedsSentTo(port: number, headers: Record<string, string>): Promise<string[]> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${LIVE_PATH}`, { headers });
  const answers: ServerFrame[] = [];
  await new Promise<void>((resolve, reject) => {
    socket.on("error", reject);
    socket.on("open", () =>
      socket.send(encodeClientFrame({ t: "subscribe", feeds: feeds.map(({ name }) => ({ name })) })),
    );
    socket.on("message", (data: Buffer) => {
      const frame = decodeServerFrame(data);
      if (frame.t !== "heartbeat" && answers.push(frame) === feeds.length) resolve();
    });
  });
  socket.terminate();
  return answers.flatMap((frame) => (frame.t === "snapshot" ? [frame.feed] : []));
}

describe("a pairing code", () => {
  it("opens one session, once, however it is typed", async () => {
    const made = await pairing("li.wei", { label: "wall-2" });
    expect(made.status).toBe(201);
    const { code, link, name, role } = made.json;
    expect(code).toMatch(/^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$/);
    expect(link).toBe(`${own()}/pair#${code}`);
    expect([name, role]).toEqual(["li.wei/wall-2", "read"]);
    const typed = { code: ` ${code.toLowerCase().replaceAll("-", " ")} ` };
    const first = await ask("POST", "/v1/sessions", {}, typed);
    expect(first.status).toBe(201);
    expect(first.headers["set-cookie"]?.[0]).toMatch(
      /^shuiwei_session=[\w-]{43}; Path=\/; Max-Age=7776000; HttpOnly; SameSite=Strict$/,
    );
    expect((await ask("POST", "/v1/sessions", {}, typed)).json).toMatchObject({ status: 401, code: "unauthorized" });
  });

  it("is not used up by a program that opens the link to show a preview", async () => {
    const { code, link } = (await pairing("li.wei")).json;
    for (const method of ["GET", "HEAD"]) expect((await ask(method, new URL(link).pathname)).status).toBe(200);
    expect((await ask("GET", `/v1/sessions?code=${code}`)).status).toBe(401);
    expect((await ask("POST", "/v1/sessions", {}, { code })).status).toBe(201);
  });

  it("is made by an operator, and for no role above the operator's own", async () => {
    expect((await ask("POST", "/v1/sessions/pairings", {}, {})).status).toBe(401);
    expect((await pairing("li.wei", { role: "operate" })).status).toBe(201);
    expect((await pairing("li.wei", { role: "admin" })).json).toMatchObject({ status: 403, code: "forbidden" });
    const reader = await paired();
    expect((await ask("POST", "/v1/sessions/pairings", { cookie: reader, origin: own() }, {})).status).toBe(403);
  });

  it("is not stored in plain text, and neither is a session's cookie", async () => {
    const { code } = (await pairing("li.wei")).json;
    const cookie = await paired();
    const keys = await bed.redis.keys("*");
    const kept = await Promise.all(
      keys.filter((key) => /session|pairing/.test(key)).map((key) => bed.redis.dump(key).catch(() => "")),
    );
    const all = keys.join() + kept.join();
    expect(all).not.toContain(code.replaceAll("-", ""));
    expect(all).not.toContain(cookie.split("=")[1]);
  });

  it("is counted and reported when it is wrong", async () => {
    await ask("POST", "/v1/sessions", {}, { code: "AAAA-BBBB-CCCC-DDDD" });
    expect(bed.troubles.some((text) => text === "a login with a wrong pairing code failed")).toBe(true);
    const { text } = await ask("GET", "/metrics", as("boss"));
    expect(text).toMatch(/shuiwei_http_failed_logins_total\{with="pairing code"\} [1-9]/);
  });
});

describe("a session", () => {
  it("reads at every process, and does no more than its role", async () => {
    const cookie = await paired("li.wei", { label: "wall" });
    expect((await ask("GET", "/v1/alerts", { cookie })).status).toBe(200);
    expect((await ask("GET", "/v1/sessions/current", { cookie })).json).toEqual({ name: "li.wei/wall", role: "read" });
    expect((await send(bed.port, "GET", "/v1/alerts", { anonymous: true, headers: { cookie } })).status).toBe(200);
    const change = { action: "open", scope: { kind: "sku", sku: "X" }, actor: "x", reason: "y" };
    expect((await ask("POST", "/v1/breaker", { cookie, origin: own() }, change)).status).toBe(403);
  });

  it("may write from pages of this server only", async () => {
    const cookie = await paired("li.wei", { role: "operate", label: "office" });
    const change = { action: "close", scope: { kind: "sku", sku: "X" }, actor: "x", reason: "y" };
    expect((await ask("POST", "/v1/breaker", { cookie, origin: own() }, change)).status).toBe(200);
    for (const origin of [{ origin: "http://evil.example" }, { origin: "null" }, {}] as Record<string, string>[])
      expect((await ask("POST", "/v1/breaker", { cookie, ...origin }, change)).json).toMatchObject({
        status: 403,
        code: "forbidden_origin",
      });
  });

  it("is not begun from another site", async () => {
    const { code } = (await pairing("li.wei")).json;
    expect((await ask("POST", "/v1/sessions", { origin: "http://evil.example" }, { code })).status).toBe(403);
    expect((await ask("POST", "/v1/sessions", { origin: own() }, { code })).status).toBe(201);
  });

  it("is begun with a token, too, to read", async () => {
    const begun = await ask("POST", "/v1/sessions", as("boss"), {});
    expect(begun.json).toMatchObject({ name: "boss/browser", role: "read" });
    expect((await ask("POST", "/v1/sessions", {}, {})).status).toBe(401);
  });

  it("cannot create another session or a pairing code, so that revoking it is enough", async () => {
    const cookie = await paired("boss", { role: "operate" });
    for (const path of ["/v1/sessions", "/v1/sessions/pairings"])
      expect((await ask("POST", path, { cookie, origin: own() }, {})).json, path).toMatchObject({
        status: 403,
        code: "forbidden",
      });
  });

  it("is one of at most 50 that one name creates with its token", async () => {
    const tokens = [`mo:read:${secretOf("mo")}`, `boss:admin:${secretOf("boss")}`];
    const { port } = await bed.another({ tokens, sessions: new Sessions(bed.redis, "of-a-name") });
    const begin = (name: string) =>
      send(port, "POST", "/v1/sessions", { anonymous: true, headers: as(name), body: {} });
    for (let i = 0; i < 50; i++) expect((await begin("mo")).status).toBe(201);
    expect((await begin("mo")).json).toMatchObject({ status: 409, code: "too_many_sessions" });
    expect((await begin("boss")).status).toBe(201);
  });

  it("that exceeds the limit leaves the code valid", async () => {
    const sessions = new Sessions(bed.redis, "full");
    const forMs = 60_000;
    const { code } = await sessions.createPairing({ name: "boss/wall", role: "read", forMs });
    const session = await sessions.create({ name: "a", role: "read", forMs });
    const text = Object.values(await bed.redis.hgetall("full:sessions"))[0] as string;
    const copies = Array.from({ length: 1_999 }, (_, i) => [`copy-${i}`, text]);
    await bed.redis.hset("full:sessions", Object.fromEntries(copies));
    expect(await sessions.redeem(code)).toBe("full");
    await sessions.revoke(session?.session.id ?? "");
    expect(await sessions.redeem(code)).toEqual({ name: "boss/wall", role: "read", forMs });
    expect(await sessions.redeem(code)).toBeUndefined();
  });

  it("has a Secure cookie when the client uses TLS", async () => {
    const { code } = (await pairing("li.wei")).json;
    const headers = { "x-forwarded-proto": "https" };
    expect((await ask("POST", "/v1/sessions", headers, { code })).headers["set-cookie"]?.[0]).toContain("; Secure");
  });

  it("ends when it is over, ended or revoked", async () => {
    const time = { nowMs: systemClock.now() };
    const sessions = new Sessions(bed.redis, "over", { now: () => time.nowMs });
    const begun = await sessions.create({ name: "a", role: "read", forMs: 60_000 });
    expect(await sessions.find(begun?.secret ?? "")).toMatchObject({ name: "a" });
    time.nowMs += 60_001;
    expect(await sessions.find(begun?.secret ?? "")).toBeUndefined();
    expect(await sessions.list()).toEqual([]);

    const cookie = await paired("li.wei", { label: "lost-phone" });
    expect((await ask("GET", "/v1/sessions", as("li.wei"))).status).toBe(403);
    const { sessions: list } = (await ask("GET", "/v1/sessions", as("boss"))).json;
    const { id } = list.find(({ name }: { name: string }) => name === "li.wei/lost-phone");
    expect((await ask("DELETE", `/v1/sessions/${id}`, as("boss"))).status).toBe(204);
    expect((await ask("GET", "/v1/alerts", { cookie })).json).toMatchObject({ status: 401 });
    expect((await ask("DELETE", `/v1/sessions/${id}`, as("boss"))).json).toMatchObject({ code: "unknown_session" });

    const other = await paired();
    const ended = await ask("DELETE", "/v1/sessions/current", { cookie: other, origin: own() });
    expect([ended.status, ended.headers["set-cookie"]?.[0]]).toEqual([204, expect.stringContaining("Max-Age=0")]);
    expect((await ask("GET", "/v1/alerts", { cookie: other })).status).toBe(401);
  });
});

describe("bodies that bring a pairing code", () => {
  const soon = { timeout: 60_000, interval: 20 };
  /** A body that never ends. */
  function slowBody(port: number, from = ""): { received(): string; end(): void } {
    let received = "";
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.on("data", (bytes: Buffer) => {
      received += bytes.toString();
    });
    const head = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 30";
    const forwarded = from === "" ? "" : `\r\nX-Forwarded-For: ${from}`;
    socket.write(`POST /v1/sessions HTTP/1.1\r\n${head}${forwarded}\r\n\r\n{`);
    return { received: () => received, end: () => socket.destroy() };
  }

  it("do not use up the limit of other requests, and are limited in number and time", async () => {
    const { port } = await bed.another({ tokens: [`boss:admin:${secretOf("boss")}`], maxUnderWay: 4 });
    const slow = Array.from({ length: 64 }, () => slowBody(port));
    const boss = { anonymous: true, headers: as("boss") };
    const begin = async () => {
      const { status, headers } = await send(port, "POST", "/v1/sessions", { ...boss, body: {} });
      // There is a limit for sessions that have begun, too.
      const [cookie = ""] = (headers["set-cookie"]?.[0] ?? "").split(";");
      const of = { cookie, origin: `http://127.0.0.1:${port}` };
      if (status === 201) await send(port, "DELETE", "/v1/sessions/current", { anonymous: true, headers: of });
      return status;
    };
    await expect.poll(begin, soon).toBe(429);
    expect((await send(port, "GET", "/v1/breaker", boss)).status).toBe(200);
    await expect.poll(() => slow.every(({ received }) => received().includes("}")), soon).toBe(true);
    // A request of `begin` may have taken the place of one.
    const late = slow.filter(({ received }) => received().includes("was not complete within 3 s"));
    expect(late.length).toBeGreaterThan(32);
    expect(late[0]?.received()).toMatch(/^HTTP\/1.1 408 /);
    await expect.poll(begin, soon).toBe(201);
    for (const { end } of slow) end();
  });

  it("leave room for others: one address has a quarter of the limit", async () => {
    const { port } = await bed.another({ tokens: [`boss:admin:${secretOf("boss")}`], trustProxy: true });
    const slow = Array.from({ length: 64 }, () => slowBody(port, "192.0.2.1"));
    const refused = () =>
      slow.filter(({ received }) => received().includes("192.0.2.1 has 16 requests for a session in progress"));
    await expect.poll(() => refused().length, soon).toBeGreaterThan(0);
    const headers = { ...as("boss"), "x-forwarded-for": "192.0.2.2" };
    expect((await send(port, "POST", "/v1/sessions", { anonymous: true, headers, body: {} })).status).toBe(201);
    for (const { end } of slow) end();
    // A closed request frees its part of the limit.
    const again = { ...headers, "x-forwarded-for": "192.0.2.1" };
    await expect
      .poll(
        async () => (await send(port, "POST", "/v1/sessions", { anonymous: true, headers: again, body: {} })).status,
        soon,
      )
      .toBe(201);
  });

  it("are small", async () => {
    const answer = await ask("POST", "/v1/sessions", {}, { code: "A".repeat(2_000) });
    expect(answer.json).toMatchObject({ status: 413, code: "body_too_large" });
  });
});

describe("the screens", () => {
  it("show a browser without a session how to pair, and nothing else", async () => {
    const page = await ask("GET", "/");
    expect(page.status).toBe(401);
    expect(page.headers["content-type"]).toContain("text/html");
    expect(page.headers["content-security-policy"]).toContain("default-src 'none'");
    expect(page.text).toContain("配对");
    expect(page.text).not.toContain("<title>wall</title>");
    expect((await ask("GET", "/secret.js")).json).toMatchObject({ status: 401 });
    const cookie = await paired();
    expect((await ask("GET", "/", { cookie })).text).toContain("<title>wall</title>");
    expect((await ask("GET", "/secret.js", { cookie })).status).toBe(200);
    expect((await ask("GET", "/", as("li.wei"))).text).toContain("<title>wall</title>");
  });

  it("are live for a session from their own page and for a token, and end with the session or its role", async () => {
    const cookie = await paired("li.wei", { label: "ending" });
    expect((await live({})).outcome).toBe(401);
    expect((await live({ cookie })).outcome).toBe(403);
    expect((await live({ cookie, origin: "http://evil.example" })).outcome).toBe(403);
    const { outcome, socket } = await live({ cookie, origin: own() });
    expect(outcome).toBe("open");
    const byToken = await live(as("li.wei"));
    expect(byToken.outcome).toBe("open");
    const { access } = server.server;
    const authenticate = access.authenticate.bind(access);
    access.authenticate = async (request, options) => {
      const caller = await authenticate(request, options);
      if ("code" in caller || caller.isSession) return caller;
      return { ...caller, identity: { ...caller.identity, role: "read" } };
    };
    const closed = Promise.all([socket, byToken.socket].map((end) => new Promise((done) => end.once("close", done))));
    const { sessions } = (await ask("GET", "/v1/sessions", as("boss"))).json;
    const { id } = sessions.find(({ name }: { name: string }) => name === "li.wei/ending");
    await ask("DELETE", `/v1/sessions/${id}`, as("boss"));
    await closed;
    access.authenticate = authenticate;
  }, 40_000);

  it("get the feeds that the role of their session or token may see", async () => {
    const session = { cookie: await paired(), origin: own() };
    expect(await feedsSentTo(server.port, session)).toEqual(["for-read"]);
    expect(await feedsSentTo(server.port, as("li.wei"))).toEqual(["for-read", "for-operate"]);
  });

  it("that are open show everybody what may be read, and more to those whose role allows it", async () => {
    const gateway = new Gateway({ feeds, clock: monotonicClock, tickMs: 50 });
    const tokens = [`li.wei:operate:${secretOf("li.wei")}`];
    const { port } = await bed.another({ tokens, gateway, openParts: ["screens"] });
    expect(await feedsSentTo(port, {})).toEqual(["for-read"]);
    expect(await feedsSentTo(port, as("li.wei"))).toEqual(["for-read", "for-operate"]);
    expect(await feedsSentTo(port, as("somebody"))).toEqual(["for-read"]);
    expect(await feedsSentTo(port, { cookie: "shuiwei_session=ended", origin: `http://127.0.0.1:${port}` })).toEqual([
      "for-read",
    ]);
  });

  it("leave room for others: one session may use a fifth of the limit", async () => {
    const cookie = await paired();
    const headers = { cookie, origin: own() };
    const opened = [await live(headers), await live(headers), await live(headers)];
    expect(opened.map(({ outcome }) => outcome)).toEqual(["open", "open", 503]);
    const other = await live({ cookie: await paired(), origin: own() });
    expect(other.outcome).toBe("open");
    for (const { socket } of [...opened, other]) socket.terminate();
  });
});

describe("a host name that is not the server's own", () => {
  it("is refused, except for what needs no token", async () => {
    const host = `evil.example:${server.port}`;
    for (const path of ["/", "/v1/alerts", "/metrics", "/docs/json", "/pair"])
      expect((await ask("GET", path, { host, ...as("boss") })).json, path).toMatchObject({
        status: 421,
        code: "misdirected_request",
      });
    for (const path of ["/v1/stock?sku=A", "/healthz", "/readyz"])
      expect((await ask("GET", path, { host })).status, path).toBe(200);
    expect((await live({ host, ...as("boss") })).outcome).toBe(421);
    for (const name of ["wall.shop.example", "10.9.8.7:8618", "localhost"])
      expect((await ask("GET", "/v1/alerts", { host: name, ...as("boss") })).status, name).toBe(200);
  });
});
