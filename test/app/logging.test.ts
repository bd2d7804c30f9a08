/**
 * The operator's log: JSON lines for machines, readable lines on a terminal, and no credential in either.
 */
import { describe, expect, it } from "vitest";
import { createLog, hidingSecrets, secretsOf } from "../../engine/app/logging.js";
import { ManualClock } from "../../engine/kernel/clock.js";
import { type LogLevel, withoutSecrets } from "../../engine/kernel/logger.js";

const AT_MS = Date.UTC(2026, 5, 18, 0, 0, 1, 234);

function log(options: { level?: LogLevel; pretty?: boolean; secrets?: string[] } = {}) {
  const lines: string[] = [];
  const { level = "info", pretty = false, secrets = [] } = options;
  const clock = new ManualClock(AT_MS);
  return { lines, ...createLog({ level, pretty, secrets, clock, write: (line) => lines.push(line) }) };
}

describe("a log line", () => {
  it("is one JSON object with time, level, message and fields", () => {
    const { lines, onTrouble } = log();
    onTrouble("became a dead letter: HTTP 422", { order: "WB01", topic: "orders", partition: 3, sink: "wms" });
    expect(lines).toHaveLength(1);
    expect(lines[0]?.endsWith("\n")).toBe(true);
    expect(JSON.parse(lines[0] as string)).toEqual({
      level: "warn",
      time: "2026-06-18T00:00:01.234Z",
      message: "became a dead letter: HTTP 422",
      order: "WB01",
      topic: "orders",
      partition: 3,
      sink: "wms",
    });
  });

  it("below the chosen level is not written", () => {
    const { lines, info, warn, error, onTrouble } = log({ level: "error" });
    info("a");
    warn("b");
    onTrouble("c");
    onTrouble("d", { level: "error" });
    error("e");
    expect(lines.map((line) => JSON.parse(line).message)).toEqual(["d", "e"]);
  });

  it("is readable on a terminal, without control characters from outside", () => {
    const { lines, warn } = log({ pretty: true });
    warn("the WMS answers \u001b[2Jnothing", { partition: 3 });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours
    const plain = lines[0]?.replace(/\u001b\[\d+m/g, "");
    expect(plain).toBe("00:00:01.234 WARN  the WMS answers ?[2Jnothing  partition=3\n");
  });

  it("is written once in ten seconds for each kind of problem, whatever the partition or the order", () => {
    const { lines, onTrouble } = log();
    for (let partition = 0; partition < 4; partition++)
      onTrouble("starting over", { topic: "stock", partition, order: `o${partition}` });
    onTrouble("starting over", { topic: "orders" });
    expect(lines).toHaveLength(2);
  });

  it("is always written for an error whose instance was sent to a client", () => {
    const { lines, onTrouble } = log();
    for (const instance of ["urn:a", "urn:b"]) onTrouble("TypeError", { level: "error", instance });
    expect(lines).toHaveLength(2);
  });
});

describe("credentials", () => {
  it.each([
    ["redis://user:pw-1234@host:6379/0 is away", "redis://***@host:6379/0 is away"],
    ["sent Authorization: Bearer abc.def-123", "sent Authorization: ***"],
    ["Bearer abc.def-123.ghi-4 was refused", "Bearer *** was refused"],
    ['["authorization","Basic YTpi"]', '["authorization","Basic ***"]'],
    ["no bearer token is set; basic words stay", "no bearer token is set; basic words stay"],
    ["cookie: sid=abc; other=def", "cookie: ***"],
    ['{"password":"abc"}', '{"password":"***"}'],
    ["https://hook.example/send?access_token=abc&x=1", "https://hook.example/send?access_token=***&x=1"],
    ["the token is not known", "the token is not known"],
  ])("are hidden: %s", (text, shown) => {
    expect(withoutSecrets(text)).toBe(shown);
  });

  it("of the settings are hidden in messages and in fields", () => {
    const settings = {
      tokens: ["office:operate:0123456789abcdef"],
      wmsToken: "wms-token-xyz",
      objectsSecret: "objects-secret-xyz",
      redisUrl: "redis://shop:p%40ssword-1@host:6379,redis://shop:p%40ssword-1@other:6379",
      prefix: "shuiwei",
      dir: undefined,
    };
    const { lines, error } = log({ secrets: secretsOf(settings) });
    error("0123456789abcdef, wms-token-xyz, objects-secret-xyz, p%40ssword-1, p@ssword-1 of shuiwei", {
      code: "wms-token-xyz",
    });
    expect(JSON.parse(lines[0] as string)).toMatchObject({
      message: "***, ***, ***, ***, *** of shuiwei",
      code: "***",
    });
  });
});

it("hides secrets of files that are read later, in texts, fields and URLs", () => {
  const { lines, onTrouble } = log();
  const hiding = hidingSecrets(onTrouble, ["a+b/secret=", "short"]);
  hiding("a+b/secret= and a%2Bb%2Fsecret%3D", { sink: "of a+b/secret=", partition: 3, level: "error" });
  hiding("short");
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { message: "*** and ***", sink: "of ***", partition: 3, level: "error" },
    { message: "short" },
  ]);
  expect(hidingSecrets(onTrouble, ["short"])).toBe(onTrouble);
});
