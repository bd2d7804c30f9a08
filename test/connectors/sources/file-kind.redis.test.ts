/** Pulls of files that are dropped into a folder: what is read, and where it is moved. */
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { SourcePage } from "../../../connectors/source.js";
import { openSource } from "../../../connectors/sources/open-source.js";
import { pullSnapshot } from "../../../connectors/sources/pull.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import { type PullBed, withPulls } from "./pull-bed.js";

describe("a pull from a folder", () => {
  const bed = withPulls();
  const { configured, pull } = bed;
  let folder: string;
  let snapshots: PullBed["snapshots"];
  /** A time as a file's name has it, in the shop's zone. */
  const named = (hoursAgo: number): string =>
    new Date(systemClock.now() - hoursAgo * 3_600_000 + 8 * 3_600_000)
      .toISOString()
      .slice(0, 16)
      .replace(/[-:]/g, "")
      .replace("T", "-");
  const dropped = (connection: object = {}) =>
    configured({ kind: "file", connection: { folder: "drop", asOf: "name", ...connection } });
  beforeEach(async () => {
    ({ folder, snapshots } = bed);
    await mkdir(join(folder, "drop"));
  });

  it("reads complete files only, the oldest first, and moves them away", async () => {
    const drop = join(folder, "drop");
    await writeFile(join(drop, `stock-${named(1)}.ndjson`), '{"sku":"X","location":"A","units":1}\n');
    await writeFile(join(drop, `stock-${named(2)}.csv`), "sku,location,units\nX,A,2\n");
    await writeFile(join(drop, "stock.csv.tmp"), "sku,loc");
    const first = await pull(await dropped());
    expect(first).toMatchObject({
      outcome: "stored",
      more: true,
      reachedMs: Math.floor((systemClock.now() - 7_200_000) / 60_000) * 60_000,
    });
    expect(await pull(await dropped())).toMatchObject({ outcome: "stored", more: false });
    expect(await pull(await dropped())).toMatchObject({ outcome: "nothing_new", pages: 0 });
    expect((await readdir(drop)).sort()).toEqual(["done", "stock.csv.tmp"]);
  });

  it("waits for the file that states that one is complete", async () => {
    const drop = join(folder, "drop");
    await writeFile(join(drop, "s-20261130-1700.csv"), "sku,location,units\nX,A,2\n");
    expect(await pull(await dropped({ complete: "done" }))).toMatchObject({ outcome: "nothing_new" });
    await writeFile(join(drop, "s-20261130-1700.csv.done"), "");
    expect(await pull(await dropped({ complete: "done" }))).toMatchObject({ outcome: "stored" });
    expect(await readdir(drop)).toEqual(["done"]);
  });

  it.each([
    ["a faulty row", "s-20261130-1700.csv", "sku,location,units\nX,A,many\n", /line 2: "units" is no number/],
    ["a broken line", "s-20261130-1700.csv", "sku,location,units\nX,A\n", /line 2: has 2 fields/],
    ["no time in its name", "stock.csv", "sku,location,units\nX,A,1\n", /its name has no date and time/],
    ["no rows", "s-20261130-1700.csv", "sku,location,units\n", /the snapshot has no rows/],
  ])("refuses a file with %s, and states why beside it", async (_, name, text, reason) => {
    await writeFile(join(folder, "drop", name), text);
    await pull(await dropped()).catch(() => {});
    expect((await readdir(join(folder, "drop", "refused"))).sort()).toEqual([name, `${name}.reason`]);
    expect(await readFile(join(folder, "drop", "refused", `${name}.reason`), "utf8")).toMatch(reason);
    expect(await snapshots.list()).toEqual([]);
  });

  it("reads no link, and writes through none", async () => {
    const drop = join(folder, "drop");
    const name = "s-20261130-1700.csv";
    const outside = join(folder, "outside.csv");
    await writeFile(outside, "sku,location,units\nX,A,1\n");
    await symlink(outside, join(drop, name));
    await mkdir(join(drop, "refused"));
    await symlink(outside, join(drop, "refused", `${name}.reason`));
    await expect(pull(await dropped())).rejects.toThrow(/is a folder, a link or a device/);
    expect(await readFile(outside, "utf8")).toBe("sku,location,units\nX,A,1\n");
    expect(await readFile(join(drop, "refused", `${name}.reason`), "utf8")).toMatch(/a link/);
    await rm(join(drop, "refused"), { recursive: true });
    await mkdir(join(folder, "elsewhere"));
    await symlink(join(folder, "elsewhere"), join(drop, "refused"));
    await writeFile(join(drop, name), "sku,location,units\nX,A,many\n");
    await expect(pull(await dropped())).rejects.toThrow(/refused: is a link/);
    expect(await readdir(join(folder, "elsewhere"))).toEqual([]);
  });

  it("leaves a file where it is that replaced the one it has read", async () => {
    const path = join(folder, "drop", "stock.csv");
    const configuration = await dropped({ asOf: "modified" });
    await writeFile(path, "sku,location,units\nX,A,1\n");
    const { source, close } = await openSource(configuration, { zone: "Asia/Shanghai", secrets: [] });
    const { signal } = new AbortController();
    let last: SourcePage | undefined;
    for await (const page of source.pull({ kind: "snapshot" }, signal)) last = page;
    await writeFile(`${path}.tmp`, "sku,location,units\nX,A,2\n");
    await rename(`${path}.tmp`, path);
    await last?.acknowledge?.(signal);
    await close();
    expect(await readdir(join(folder, "drop"))).toEqual(["stock.csv"]);
    expect(await pull(configuration)).toMatchObject({ outcome: "stored", samples: [{ units: 2 }] });
    expect(await readdir(join(folder, "drop", "done"))).toEqual(["stock.csv"]);
  });

  it("refuses a file with the longest name", async () => {
    const name = `${"x".repeat(251)}.csv`;
    await writeFile(join(folder, "drop", name), "sku,location,units\nX,A,many\n");
    const refused = await pull(await dropped({ asOf: "modified" }));
    expect(refused).toMatchObject({ outcome: "refused" });
    expect(await readdir(join(folder, "drop", "refused"))).toHaveLength(2);
  });

  it("leaves a refused file where it is in a dry run", async () => {
    await writeFile(join(folder, "drop", "s-20261130-1700.csv"), "sku,location,units\nX,A,many\n");
    expect(await pull(await dropped(), pullSnapshot, true)).toMatchObject({ outcome: "refused" });
    expect(await readdir(join(folder, "drop"))).toEqual(["s-20261130-1700.csv"]);
  });
});
