/**
 * What is lost when the machine under Redis dies, not only the process. The kernel's page cache goes with the
 * machine, so a small library inside redis-server notes how much of the append-only file had reached the disk; the
 * cut is a SIGKILL and then the file shortened to that. `everysec` may lose the last answers, and the test prints how
 * many; `always` must lose none. Either way everything that is left is consistent, and the processes that outlived
 * the machine show and write nothing of what no longer exists. Needs a C compiler.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { sleep } from "../../engine/kernel/clock.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import { Bed, type BedSettings, planSeed } from "./bed.js";
import { checkFinalState, type Findings, matchAnswers, shownWrongly } from "./final-state.js";
import { type Answered, Shop, skuNames } from "./shop.js";

const CUTS = 4;
const SKUS = 240;
/** Two a partition; and long enough for views to have them. */
const LATE_SKUS = 32;
const LATE_MS = 150;
const LEASE_MS = 3_000;
const SLOW_SYNC_MS = 900;

const folder = mkdtempSync(join(tmpdir(), "shuiwei-page-cache-"));
const library = join(folder, "page-cache.so");
const source = fileURLToPath(new URL("./page-cache.c", import.meta.url));
const compiler = ["cc", "gcc", "clang"].find(
  (name) => spawnSync(name, ["-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"]).status === 0,
);
const seed = planSeed();

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** How much of each file had reached the disk, by the file's number: last note first. */
function notesOf(path: string): { inode: number; bytes: number; name: string }[] {
  return readFileSync(path, "utf8")
    .trim()
    .split("\n")
    .map((line) => {
      const [inode, bytes, ...name] = line.split(" ");
      return { inode: Number(inode), bytes: Number(bytes), name: name.join(" ") };
    })
    .reverse();
}

/** Kills redis-server and takes from its files what the disk had not got. @returns bytes taken */
async function cutPower(bed: Bed, notesPath: string): Promise<number> {
  await bed.killRedis();
  const notes = notesOf(notesPath);
  const files = join(bed.dir, "appendonlydir");
  let taken = 0;
  for (const name of readdirSync(files)) {
    const path = join(files, name);
    const { ino, size } = statSync(path);
    // Redis writes bases and manifests under another name first, and syncs them under that.
    const known = notes.find(
      (note) => note.inode === ino && (note.name === path || /[\\/]temp[-_][^\\/]*$/.test(note.name)),
    );
    const kept = Math.min(size, known?.bytes ?? 0);
    truncateSync(path, kept);
    taken += size - kept;
  }
  return taken;
}

interface Cut {
  atMs: number;
  bytes: number;
}

interface Outcome {
  answers: Map<string, Answered>;
  cuts: Cut[];
  commandsPerSecond: number;
  findings: Findings;
}

let bed: Bed | undefined;
afterEach(async () => {
  await bed?.close();
  bed = undefined;
});

/** Load, cut, restart, over and over, with the same product processes throughout. */
async function cutOften(
  appendfsync: BedSettings["appendfsync"],
  environment: Record<string, string>,
  cut: (bed: Bed, notes: string) => Promise<number>,
  random: Random,
): Promise<Outcome> {
  const notes = join(folder, `notes-${appendfsync}-${random.below(1e9)}`);
  bed = await Bed.open({
    partitions: 16,
    leaseMs: LEASE_MS,
    appendfsync,
    environment: { ...environment, LD_PRELOAD: library, PAGE_CACHE_NOTES: notes },
  });
  await bed.startAll(["api", "worker", "worker"]);
  const answers = new Map<string, Answered>();
  const cuts: Cut[] = [];
  const names = skuNames(SKUS);
  let busyMs = 0;
  let answeredBefore = 0;
  for (let round = 0; round < CUTS; round++) {
    const shop = new Shop({
      seed: seed + round,
      apis: bed.apis,
      commands: 1_000_000,
      rate: 8_000,
      skus: SKUS,
      batchers: 4,
      orderers: 4,
      batch: 60,
      timeoutMs: 2_000,
      patienceMs: 30_000,
      // What was answered before a cut may be lost after it.
      twice: false,
    });
    const load = shop.run();
    const runMs = 1_500 + random.below(2_000);
    await Promise.race([sleep(runMs), load]);
    // New goods right before the cut: SKUs that may never have been.
    const late = Array.from({ length: LATE_SKUS }, (_, number) => `LATE-${round}-${number}`);
    names.push(...late);
    await shop.receive(late);
    await sleep(LATE_MS);
    busyMs += runMs;
    answeredBefore += shop.accounted;
    // Every other time nothing is written after the cut, so that nothing hides what views had shown of the lost
    // answers.
    const quiet = round % 2 === 0;
    if (quiet) shop.stop();
    const atMs = performance.now();
    cuts.push({ atMs, bytes: await cut(bed, notes) });
    await bed.startRedis();
    if (!quiet) await sleep(1_000);
    shop.stop();
    await load;
    await bed.untilCaughtUp();
    const wrong = () => shownWrongly(bed as Bed, names);
    await expect.poll(wrong, { message: `${appendfsync}, cut ${round + 1}: shown wrongly` }).toEqual([]);
    for (const [key, answer] of shop.answers) answers.set(key, answer);
  }
  await sleep(2_000); // short holds end
  await bed.untilCaughtUp();
  bed.expectNoCrash();
  await bed.stopProducts();
  return { answers, cuts, commandsPerSecond: (answeredBefore / busyMs) * 1_000, findings: await checkFinalState(bed) };
}

/**
 * Accepted commands that the log does not hold, per cut: how many, and how long before the cut the first was
 * answered.
 */
function lossesOf({ answers, cuts, findings }: Outcome): { lost: number; backMs: number }[] {
  const losses = cuts.map(() => ({ lost: 0, backMs: 0 }));
  for (const answer of answers.values()) {
    if (!answer.accepted || findings.tally.has(`${answer.type} ${answer.id}`)) continue;
    // Answers may still be on their way while the machine dies.
    const at = cuts.findIndex(({ atMs }) => atMs > answer.sentMs);
    const loss = losses[at];
    if (!loss) throw new Error(`${answer.kind} ${answer.id} was sent after the last cut and is not in the log`);
    loss.lost++;
    loss.backMs = Math.max(loss.backMs, (cuts[at] as Cut).atMs - answer.atMs);
  }
  return losses;
}

function report(name: string, outcome: Outcome): { lost: number; backMs: number }[] {
  const losses = lossesOf(outcome);
  const list = losses.map(({ lost, backMs }) => `${lost} (${(backMs / 1_000).toFixed(2)} s)`).join(", ");
  const bytes = outcome.cuts.map(({ bytes: taken }) => Math.round(taken / 1024)).join(", ");
  process.stdout.write(
    `power cut, ${name}: ${Math.round(outcome.commandsPerSecond)} commands/s answered; answered and lost per cut: ${list}; ` +
      `KiB that had not reached the disk: ${bytes}; seed ${seed}\n`,
  );
  return losses;
}

describe.skipIf(compiler === undefined)(`a machine that fails${compiler ? "" : " (no C compiler here)"}`, () => {
  it("with everysec loses the last second or two, and what is left is consistent", async () => {
    const outcome = await cutOften("everysec", {}, cutPower, seededRandom(seed));
    const losses = report("everysec", outcome);
    // Redis puts off a write for up to two seconds while a sync is under way, and the next sync begins a second later
    // at most.
    for (const { backMs } of losses) expect(backMs).toBeLessThan(4_000);
  }, 180_000);

  it("with always loses nothing that was answered", async () => {
    const outcome = await cutOften("always", {}, cutPower, seededRandom(seed + 1));
    const losses = report("always", outcome);
    expect(losses.map(({ lost }) => lost)).toEqual(losses.map(() => 0));
    matchAnswers(outcome.answers, outcome.findings);
  }, 180_000);

  it("killing redis-server alone loses what Redis had put off because of a slow disk, with everysec", async () => {
    const kill = async (on: Bed): Promise<number> => {
      await on.killRedis();
      return 0;
    };
    const slow = { PAGE_CACHE_SYNC_MS: String(SLOW_SYNC_MS) };
    const outcome = await cutOften("everysec", slow, kill, seededRandom(seed + 2));
    for (const { backMs } of report(`everysec, only the process killed, syncs of ${SLOW_SYNC_MS} ms`, outcome))
      expect(backMs).toBeLessThan(4_000);
  }, 180_000);
});
