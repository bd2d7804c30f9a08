/**
 * Tokens in a file: added and removed while the server runs, kept when the file is faulty, and never with their
 * secrets. The built command's side is test/cli/commands.redis.test.ts.
 */
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { changeTokenFile, makeToken, readTokenFile, TokenFile } from "../../../connectors/http/token-file.js";
import { digestOf } from "../../../connectors/http/tokens.js";
import { httpBed, send } from "./http-bed.js";

const bed = httpBed();
let folder: string;
let path: string;
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "shuiwei-tokens-"));
});
beforeEach(() => {
  path = join(folder, `tokens-${files++}.json`);
});
afterAll(() => rm(folder, { recursive: true }));

async function add(name: string, role: "read" | "admin" = "read"): Promise<string> {
  const { secret, token } = makeToken({ name, role });
  await changeTokenFile(path, (tokens) => [...tokens, token]);
  return secret;
}

describe("the file", () => {
  it("holds hashes only, is its owner's only, and leaves nothing beside it", async () => {
    const secret = await add("shop");
    expect(secret).toMatch(/^sw_[\w-]{43}$/);
    expect(await readFile(path, "utf8")).not.toContain(secret.slice(3));
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readTokenFile(path)).toMatchObject([{ name: "shop", role: "read", sha256: digestOf(secret) }]);
    expect((await readdir(folder)).filter((name) => name.includes(".lock"))).toEqual([]);
  });

  it("is changed by one command at a time, and stays as it is when a change fails", async () => {
    await add("shop");
    const before = await readFile(path, "utf8");
    await writeFile(`${path}.lock`, "");
    await expect(add("other")).rejects.toMatchObject({ code: "locked" });
    await rm(`${path}.lock`);
    await expect(
      changeTokenFile(path, () => {
        throw new Error("no");
      }),
    ).rejects.toThrow("no");
    expect(await readFile(path, "utf8")).toBe(before);
    await add("other");
  });

  it.each([
    ["no JSON", "{", "is not JSON"],
    ["no list", "[]", 'has no list "tokens"'],
    ["an unknown role", '{"tokens":[{"name":"a","role":"boss","sha256":""}]}', "tokens[0] has a role"],
    ["a secret in place of a hash", '{"tokens":[{"name":"a","role":"read","sha256":"hunter2"}]}', "SHA-256"],
    ["an invalid name", '{"tokens":[{"name":"a b","role":"read","sha256":""}]}', "tokens[0] has no valid name"],
  ])("is refused, with the position of the fault, when it holds %s", async (_, text, message) => {
    await writeFile(path, text);
    await expect(readTokenFile(path)).rejects.toThrow(message);
    await expect(readTokenFile(path)).rejects.not.toThrow("hunter2");
    await expect(new TokenFile(path, () => {}).start()).rejects.toMatchObject({ code: "bad_option" });
  });
});

describe("a running server", () => {
  it("takes what is added and refuses what is removed, without a restart; a faulty file changes nothing", async () => {
    const first = await add("first");
    const reported: string[] = [];
    const file = new TokenFile(path, (message) => reported.push(message));
    await file.reload();
    const { port } = await bed.another({ tokens: [], tokenFile: file, warnings: () => file.warnings() });
    const status = async (secret: string) => {
      const headers = { authorization: `Bearer ${secret}` };
      return (await send(port, "GET", "/v1/breaker", { anonymous: true, headers })).status;
    };
    expect([await status(first), await status("sw_this-one-is-unknown-0123456789")]).toEqual([200, 401]);
    const second = await add("second");
    await file.reload();
    expect(await status(second)).toBe(200);

    await writeFile(path, '{"tokens":[{"name":"fir');
    await file.reload();
    await file.reload();
    expect([await status(first), await status(second)]).toEqual([200, 200]);
    expect(reported).toHaveLength(1);
    const ready = await send(port, "GET", "/readyz", {
      anonymous: true,
      headers: { authorization: `Bearer ${first}` },
    });
    expect(ready.json.warnings).toEqual([`${path}: is not JSON; the tokens read before it stay valid`]);

    await rm(path);
    await file.reload();
    expect(await status(first)).toBe(200);
    await add("third");
    await file.reload();
    expect([await status(first), await status(second)]).toEqual([401, 401]);
    await changeTokenFile(path, () => []);
    await file.reload();
    expect(file.warnings()).toEqual([`${path} holds no token`]);
  });

  it("reads a changed file again by itself", async () => {
    await add("a");
    const file = new TokenFile(path, () => {});
    await file.start();
    const secret = await add("b");
    await utimes(path, 1, 1);
    await expect.poll(() => file.get(digestOf(secret))?.name).toBe("b");
    await file.stop();
  });
});
