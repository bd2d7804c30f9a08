/**
 * The options mechanism from outside: what a person writes, what the program gets, and what a mistake is answered.
 * The help text is held literally, because it is what a person reads first.
 */
import { describe, expect, expectTypeOf, it } from "vitest";
import { EngineError } from "../../engine/kernel/errors.js";
import {
  defineOptions,
  joinOptions,
  type OptionSources,
  readOptions,
  renderOptions,
} from "../../engine/kernel/options.js";

const table = defineOptions({
  port: { type: "integer", default: 8618, min: 1, max: 65_535, about: "Port to listen on." },
  openingStock: { type: "integer", min: 0, unit: "units", about: "Stock of every SKU at the start." },
  leaseMs: { type: "duration", default: 10_000, min: 1_000, max: 300_000, about: "How long a partition is owned." },
  durable: { type: "boolean", default: true, about: "Keep what was written." },
  fsync: {
    type: "choice",
    choices: ["always", "everysec"],
    default: "everysec",
    about: "When the log reaches the disk.",
  },
  roles: { type: "list", choices: ["api", "worker"], default: ["api", "worker"], about: "What this process does." },
  tags: { type: "list", about: "Free words." },
  token: {
    type: "string",
    secret: true,
    pattern: /[0-9a-f]{4,}/,
    expects: "at least 4 hex digits",
    about: "Who may write.",
  },
});

const read = (args: string[], env: Record<string, string> = {}, more: Partial<OptionSources> = {}) =>
  readOptions(table, { args, env, ...more });

function faultsOf(args: string[], env: Record<string, string> = {}, more: Partial<OptionSources> = {}): string {
  try {
    read(args, env, more);
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(EngineError);
    expect((thrown as EngineError).code).toBe("bad_option");
    return (thrown as EngineError).message;
  }
  throw new Error("no fault was found");
}

describe("reading options", () => {
  it("returns the defaults when nothing is set, and types each value by its table", () => {
    const { values, operands } = read([]);
    expect(values).toEqual({
      port: 8618,
      openingStock: undefined,
      leaseMs: 10_000,
      durable: true,
      fsync: "everysec",
      roles: ["api", "worker"],
      tags: [],
      token: undefined,
    });
    expect(operands).toEqual([]);
    expectTypeOf(values.port).toEqualTypeOf<number>();
    expectTypeOf(values.openingStock).toEqualTypeOf<number | undefined>();
    expectTypeOf(values.fsync).toEqualTypeOf<"always" | "everysec">();
    expectTypeOf(values.roles).toEqualTypeOf<readonly ("api" | "worker")[]>();
    expectTypeOf(values.tags).toEqualTypeOf<readonly string[]>();
    expectTypeOf(values.token).toEqualTypeOf<string | undefined>();
    expectTypeOf(values.durable).toEqualTypeOf<boolean>();
  });

  it("prefers a flag to a variable and a variable to the default", () => {
    const env = { SHUIWEI_PORT: "9000", SHUIWEI_LEASE: "30s" };
    expect(read(["--port", "9001"], env).values).toMatchObject({ port: 9001, leaseMs: 30_000 });
  });

  it("counts an empty variable as unset and ignores other programs' variables", () => {
    expect(read([], { SHUIWEI_PORT: "", PATH: "/bin" }).values.port).toBe(8618);
  });

  it.each([
    ["1500", 1_500],
    ["1500ms", 1_500],
    ["10s", 10_000],
    ["1.5m", 90_000],
  ])("reads the duration %s as %i ms", (text, ms) => {
    expect(read(["--lease", text]).values.leaseMs).toBe(ms);
  });

  it("reads a boolean without a value, negated, or in words, and never consumes the next argument", () => {
    expect(read(["--durable", "a.csv"], {}, { operands: "FILE" })).toMatchObject({
      values: { durable: true },
      operands: ["a.csv"],
    });
    expect(read(["--no-durable"]).values.durable).toBe(false);
    expect(read(["--durable=off"]).values.durable).toBe(false);
    expect(read([], { SHUIWEI_DURABLE: "No" }).values.durable).toBe(false);
  });

  it("reads a list with commas or from a repeated flag", () => {
    expect(read(["--tags", "a, b", "--tags=c"]).values.tags).toEqual(["a", "b", "c"]);
  });

  it("keeps operands in order and takes everything after -- as operands", () => {
    const { operands } = read(["a.csv", "--port=1", "-", "--", "--odd.csv"], {}, { operands: "FILE" });
    expect(operands).toEqual(["a.csv", "-", "--odd.csv"]);
  });

  it("lists every fault at once, each with its place and the bound it breaks", () => {
    const message = faultsOf(["--port", "70000", "--lease", "soon", "--fsync=evrysec", "stray"], {
      SHUIWEI_ROLES: "api,wroker",
      SHUIWEI_OPENING_STOCK: "-1",
      SHUIWEI_PROT: "1",
    });
    expect(message).toBe(
      [
        "7 bad options:",
        '  unexpected "stray"',
        '  --port: "70000" is above 65535',
        '  SHUIWEI_OPENING_STOCK: "-1" is below 0',
        '  --lease: "soon" is not a duration such as 500ms, 10s, 30m, 2h or 1d',
        '  --fsync: "evrysec" is not one of always, everysec; did you mean everysec?',
        '  SHUIWEI_ROLES: "api,wroker" has "wroker", which is not one of api, worker; did you mean worker?',
        "  unknown variable SHUIWEI_PROT; did you mean SHUIWEI_PORT?",
      ].join("\n"),
    );
  });

  it("suggests a similar name for an unknown option, and nothing when none is similar", () => {
    expect(faultsOf(["--openingstock", "5"])).toBe(
      "bad option: unknown option --openingstock; did you mean --opening-stock?",
    );
    expect(faultsOf(["--verbose"])).toBe("bad option: unknown option --verbose");
    expect(faultsOf(["-port", "5"])).toBe("bad option: unknown option -port; did you mean --port?");
  });

  it("rejects a flag without its value, given twice, or fractional where a whole number is required", () => {
    expect(faultsOf(["--port", "--durable"])).toBe("bad option: --port needs a whole number");
    expect(faultsOf(["--port="])).toBe("bad option: --port needs a whole number");
    expect(faultsOf(["--port", "1", "--port", "2"])).toBe("bad option: --port is given twice");
    expect(faultsOf(["--port", "1.5"])).toBe('bad option: --port: "1.5" is not a whole number');
    expect(faultsOf(["--no-durable=false"])).toBe("bad option: --no-durable takes no value");
    expect(faultsOf(["--tags", "a,,b"])).toBe('bad option: --tags: "a,,b" has an empty item');
    expect(faultsOf(["--roles", "api,api"])).toBe('bad option: --roles: "api,api" names api twice');
  });

  it("does not show a secret", () => {
    expect(faultsOf([], { SHUIWEI_TOKEN: "hunter2" })).toBe(
      "bad option: SHUIWEI_TOKEN: its value is not at least 4 hex digits",
    );
  });

  it("reports an option that must be set", () => {
    const needed = defineOptions({ out: { type: "string", required: true, about: "Where results go." } });
    const reading = readOptions(needed, { args: ["--out", "x"], env: {} });
    expectTypeOf(reading.values.out).toEqualTypeOf<string>();
    expect(reading.values.out).toBe("x");
    expect(() => readOptions(needed, { args: [], env: {} })).toThrow(
      "--out (or SHUIWEI_OUT) must be set: Where results go.",
    );
  });

  it("accepts another command's variables but not its flags", () => {
    const elsewhere = defineOptions({ speed: { type: "number", default: 60, about: "Shop seconds a second." } });
    expect(read([], { SHUIWEI_SPEED: "10" }, { elsewhere }).values.port).toBe(8618);
    expect(faultsOf(["--speed", "10"], {}, { elsewhere })).toBe("bad option: unknown option --speed");
  });
});

describe("declaring options", () => {
  it("joins rooms' tables into one type and rejects a flag that two rooms declare", () => {
    const other = defineOptions({ speed: { type: "number", default: 1, about: "x" } });
    const joined = joinOptions(table, other);
    const { values } = readOptions(joined, { args: ["--speed", "2.5"], env: {} });
    expectTypeOf(values.speed).toEqualTypeOf<number>();
    expectTypeOf(values.fsync).toEqualTypeOf<"always" | "everysec">();
    expect(values).toMatchObject({ speed: 2.5, port: 8618 });
    expect(() => joinOptions(table, other, defineOptions({ speed: { type: "boolean", about: "x" } }))).toThrow(
      "two rooms declare --speed",
    );
  });

  it("rejects a table that contradicts itself", () => {
    expect(() => defineOptions({ port: { type: "integer", default: 0, min: 1, about: "x" } })).toThrow("is below 1");
    expect(() => defineOptions({ lease: { type: "duration", default: 1, about: "x" } })).toThrow("does not end in Ms");
    expect(() => defineOptions({ mode: { type: "choice", choices: ["a"], default: "b", about: "x" } })).toThrow(
      "is not one of a",
    );
  });

  it("prints one line an option", () => {
    expect(renderOptions(table)).toBe(`\
Option           Default     Allowed                Meaning
--port           8618        1 to 65535             Port to listen on.
--opening-stock              from 0 units           Stock of every SKU at the start.
--lease          10s         1s to 5m               How long a partition is owned.
--durable        true        true, false            Keep what was written.
--fsync          everysec    always, everysec       When the log reaches the disk.
--roles          api,worker  api,worker             What this process does.
--tags                       a,b,…                  Free words.
--token                      at least 4 hex digits  Who may write.

Each is also a variable: --foo-bar is SHUIWEI_FOO_BAR. A flag overrides a variable.
`);
  });
});
