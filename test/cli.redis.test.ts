/**
 * The built command as a process of its own: what it prints, the status it ends with, and what it leaves behind. Input at fault ends with status 2
 * and one clear line that names the place; no stack trace reaches a user. `npm test` builds before it runs this.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const CLI = fileURLToPath(new URL("../dist/engine/cli.js", import.meta.url));
const HEADER = "invoice,sku,quantity,time,unit_price,customer,country";
const ROWS = [
  "1,A,6,2010-12-01T08:26:00Z,2.55,7,UK",
  "1,B,2,2010-12-01T08:26:00Z,1,7,UK",
  "C2,A,-1,2010-12-01T09:00:00Z,2.55,7,UK",
  "A3,X,1,2010-12-01T09:30:00Z,2.55,7,UK",
];

let folder: string;
const path = (name: string) => join(folder, name);

interface Ended {
  status: number;
  out: string;
  err: string;
}

function shuiwei(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { encoding: "utf8", cwd: folder }, (error, out, err) => {
      resolve({ status: error ? Number(error.code) : 0, out, err });
    });
  });
}

/** Replays a file; `out` is the folder "out". */
const replayOf = (file: string, ...more: string[]) =>
  shuiwei(
    "replay",
    file,
    "--mapping",
    "online-retail",
    "--opening-stock",
    "100",
    "--zone",
    "UTC",
    "--out",
    "out",
    ...more,
  );

function write(name: string, content: string | Buffer): string {
  writeFileSync(path(name), content);
  return name;
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "shuiwei-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("help", () => {
  it("names the commands", async () => {
    const { status, out } = await shuiwei("--help");
    expect(status).toBe(0);
    for (const command of ["demo", "serve", "replay", "bench"]) expect(out).toContain(`shuiwei ${command}`);
  });

  it.each(["demo", "serve", "replay", "bench"])("lists every option of %s", async (command) => {
    const { status, out } = await shuiwei(command, "--help");
    expect(status).toBe(0);
    expect(out).toMatchSnapshot();
  });
});

describe("a command line at fault", () => {
  it("is told about an unknown command", async () => {
    const { status, err } = await shuiwei("reply");
    expect(status).toBe(2);
    expect(err).toContain('no command "reply"');
  });

  it("is told about every bad option at once, with what was meant", async () => {
    const { status, err } = await shuiwei("serve", "--prot", "1", "--partitions", "0", "--lease", "soon");
    expect(status).toBe(2);
    expect(err).toContain("--port");
    expect(err).toContain("--partitions");
    expect(err).toContain("--lease");
    expect(err).not.toMatch(/\n\s+at /);
  });

  it("is told that a process that only works needs a Redis", async () => {
    const { status, err } = await shuiwei("serve", "--roles", "worker");
    expect(status).toBe(2);
    expect(err).toContain("--redis-url");
  });

  it("is told which benchmarks there are", async () => {
    const { status, err } = await shuiwei("bench", "lodger");
    expect(status).toBe(2);
    expect(err).toContain("ledger");
  });
});

describe("replay", () => {
  it("writes its three files", async () => {
    const { status, out } = await replayOf(write("good.csv", `${[HEADER, ...ROWS].join("\n")}\n`));
    expect(out).toContain("4 rows");
    expect(status).toBe(0);
    expect(readdirSync(path("out")).sort()).toEqual(["alerts.ndjson", "rejected.ndjson", "summary.json"]);
    expect(JSON.parse(readFileSync(path("out/summary.json"), "utf8"))).toMatchObject({
      rows: 4,
      accepted: 3,
      refused: 0,
      rejected: 1,
      kinds: { sale: 2, return: 1 },
      alertsFired: 0,
    });
    expect(JSON.parse(readFileSync(path("out/rejected.ndjson"), "utf8"))).toMatchObject({ line: 5 });
    rmSync(path("out"), { recursive: true });
  });

  const whole = gzipSync(`${[HEADER, ...Array(5_000).fill(ROWS[0])].join("\n")}\n`);
  it.each([
    ["a file that is not there", () => "nowhere.csv", "nowhere.csv"],
    ["a missing column", () => write("column.csv", `${HEADER.replace("quantity,", "")}\n`), "quantity"],
    ["a truncated gzip", () => write("cut.csv.gz", whole.subarray(0, whole.length / 2)), "cut.csv.gz"],
    [
      "invalid UTF-8",
      () =>
        write(
          "utf8.csv",
          Buffer.concat([Buffer.from(`${HEADER}\n1,`), Buffer.from([0xc3, 0x28]), Buffer.from(",1\n")]),
        ),
      "line 2",
    ],
    ["a quote that never closes", () => write("quote.csv", `${HEADER}\n1,"A,6\n`), "line 2"],
    ["a row with too few fields", () => write("short.csv", `${HEADER}\n1,A\n`), "line 2"],
  ])("refuses %s with the place, and writes nothing", async (_name, file, place) => {
    const { status, err } = await replayOf(file());
    expect(status).toBe(2);
    expect(err).toContain(place);
    expect(err).not.toMatch(/\n\s+at /);
    expect(existsSync(path("out/summary.json"))).toBe(false);
  });

  it("refuses a mapping that is not there", async () => {
    const { status, err } = await shuiwei("replay", "x.csv", "--mapping", "nothing", "--out", "out");
    expect(status).toBe(2);
    expect(err).toContain("online-retail");
  });

  it("refuses an unknown zone", async () => {
    const { status, err } = await shuiwei(
      "replay",
      write("z.csv", `${HEADER}\n`),
      "--mapping",
      "online-retail",
      "--zone",
      "Mars/Base",
      "--out",
      "out",
    );
    expect(status).toBe(2);
    expect(err).toContain("Mars/Base");
  });
});
