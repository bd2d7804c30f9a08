/**
 * `shuiwei sandbox`: prints an address at which a WMS or a bucket answers, until it is stopped.
 */
import { readFile } from "node:fs/promises";
import { Agent, request } from "undici";
import { afterEach, describe, expect, it, vi } from "vitest";
import { command } from "../../engine/cli/sandbox.js";

afterEach(() => vi.restoreAllMocks());

/** Runs the command while `use` works with the text that it printed first. */
async function whileServing(kind: string, use: (printed: string) => Promise<void>): Promise<void> {
  let printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  const stop = new AbortController();
  const running = command.run({ values: { port: 0, limit: 100 }, operands: [kind], signal: stop.signal });
  try {
    await expect.poll(() => printed).not.toBe("");
    await use(printed);
  } finally {
    stop.abort();
    await running;
  }
}

describe("the sandbox command", () => {
  it("serves a WMS at the address that it prints, and stops serving it", async () => {
    let url = "";
    await whileServing("wms", async (printed) => {
      url = /--wms-url (\S+) --wms-limit 100/.exec(printed)?.[1] ?? "";
      const order = { method: "POST", body: JSON.stringify({ orderNo: "A" }) };
      expect((await fetch(`${url}/v1/picking-orders`, order)).status).toBe(201);
    });
    await expect(fetch(url)).rejects.toThrow();
  });

  it("serves a bucket that denies requests without a signature", async () => {
    await whileServing("objects", async (printed) => {
      const url = /bucket at (\S+):/.exec(printed)?.[1] ?? "";
      expect((await fetch(`${url}/orders-test/a`)).status).toBe(403);
      expect(printed).toContain("--objects-url");
    });
  });

  it("serves a push service, and prints the certificate that a client must trust", async () => {
    let file = "";
    await whileServing("web-push", async (printed) => {
      const [, url = "", host] = /push service at (https:\/\/(\S+)):/.exec(printed) ?? [];
      file = /NODE_EXTRA_CA_CERTS=(\S+)/.exec(printed)?.[1] ?? "";
      expect(printed).toContain(`--push-hosts ${host}`);
      const agent = new Agent({ connect: { ca: await readFile(file, "utf8") } });
      try {
        const { statusCode, body } = await request(`${url}/sandbox/subscriptions`, {
          dispatcher: agent,
          method: "POST",
        });
        expect([statusCode, await body.json()]).toEqual([
          201,
          { endpoint: expect.any(String), keys: expect.any(Object) },
        ]);
      } finally {
        await agent.destroy();
      }
    });
    await expect(readFile(file)).rejects.toThrow("ENOENT");
  });

  it("names the kinds when it is given another", async () => {
    const run = command.run({
      values: { port: 0, limit: 100 },
      operands: ["redis"],
      signal: new AbortController().signal,
    });
    await expect(run).rejects.toMatchObject({ code: "bad_input", message: expect.stringContaining("wms|objects") });
  });

  it.each([
    { kind: "source", path: "", method: "GET", says: '"SKU-01"' },
    { kind: "wangdian", path: "/stock_query.php", method: "POST", says: "sid" },
    { kind: "youzan", path: "/api/youzan.items.onsale.get/3.0.0", method: "POST", says: "token" },
    { kind: "oracle-ebs", path: "/shuiwei_stock/get_on_hand/", method: "POST", says: "FND_SOA_AUTHENTICATION_FAILURE" },
  ])("serves $kind with stock, and prints how it is configured", async ({ kind, path, method, says }) => {
    await whileServing(kind, async (printed) => {
      const [, text = "{}"] = /"connection": (.*)/.exec(printed) ?? [];
      const { url } = JSON.parse(text) as { url: string };
      expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+/);
      const answer = await fetch(`${url}${path}`, method === "GET" ? {} : { method, body: "{}" });
      expect(await answer.text()).toContain(says);
    });
  });

  it.each([
    ["cloudflare", ["url", "zone", "token", "plan"], "Authentication"],
    ["fastly", ["url", "service", "token"], "credentials"],
    ["aliyun-cdn", ["url", "accessKeyId", "accessKeySecret"], "Authorization"],
    ["tencent-cdn", ["url", "secretId", "secretKey"], "Authorization"],
  ])("serves %s, and prints the file that reaches it", async (vendor, fields, says) => {
    await whileServing(vendor, async (printed) => {
      const { cdns } = JSON.parse(/\{.*\}/.exec(printed)?.[0] ?? "{}");
      expect(cdns).toMatchObject([{ vendor }]);
      const [{ connection }] = cdns;
      expect(Object.keys(connection)).toEqual(fields);
      const answer = await fetch(connection.url, { method: "POST", body: "{}" });
      expect(await answer.text()).toContain(says);
    });
  });
});
