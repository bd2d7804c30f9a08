/**
 * What every kind of source of stock does (connectors/source.ts), as tests that run against the sandbox of its outside
 * system: all rows and each once, the rate, throttling, failures half-way, secrets, acknowledgement, movements. What
 * only one kind has (signatures, paging of its own) is tested beside it.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PullRequest, SourceKind, SourcePage } from "../../connectors/source.js";
import type { SourceConfiguration } from "../../connectors/sources/configuration.js";
import { type OpenedSource, openSource } from "../../connectors/sources/open-source.js";
import { rowMapper, type StockRow } from "../../connectors/sources/row-mapper.js";
import type { SandboxFigures } from "../../connectors/sources/sandbox/server.js";
import type { SandboxStock } from "../../connectors/sources/sandbox/stock.js";
import { type Scheduler, sleep, systemClock } from "../../engine/kernel/clock.js";
import { EngineError } from "../../engine/kernel/errors.js";

/** A sandbox of the outside system, and how it is reached. */
export interface StockSourceBed {
  readonly kind: SourceKind;
  /** Of the configuration, with the texts of secrets. */
  readonly connection: unknown;
  /** The same with a secret that the sandbox does not accept. */
  readonly wrongConnection: unknown;
  /** Parts of the configuration beyond the kind's defaults. */
  readonly pulls: SourceConfiguration["pulls"];
  readonly location?: string;
  readonly stock: SandboxStock;
  readonly figures: SandboxFigures;
  fail(how: "fail" | "cut", times: number, after?: number): void;
  close(): Promise<void>;
}

export interface StockSourceFeatures {
  /** What a page of the sandbox has at most, in the bed that `open` makes. */
  readonly pageRows: number;
  readonly secrets: readonly string[];
  /** Rows come again until they are acknowledged. */
  readonly acknowledges: boolean;
  readonly movements: boolean;
  /** The outside system and its sandbox have locations. */
  readonly hasLocations: boolean;
  /** Its refusal of too many requests is tried, which takes a second; left out: yes. */
  readonly timed?: boolean;
  /** The rate is tried, which takes a second; left out: no, for all kinds have one client. */
  readonly paced?: boolean;
}

const CELLS = 10;
/** Waits pass a hundred times as fast, so that back-off takes milliseconds. */
const quick: Scheduler = { now: () => systemClock.now(), sleep: (ms, signal) => sleep(ms / 100, signal) };

/** @param open makes a bed whose sandbox takes `perSecond` requests a second */
export function describeStockSource(
  name: string,
  features: StockSourceFeatures,
  open: (perSecond: number) => Promise<StockSourceBed>,
): void {
  describe(`${name}, as a source of stock,`, () => {
    let bed: StockSourceBed;
    let opened: OpenedSource[] = [];
    const begin = async (perSecond = 1_000): Promise<void> => {
      bed = await open(perSecond);
      for (let i = 0; i < CELLS; i++) bed.stock.set(`SKU-${i}`, i % 2 === 0 ? "A" : "B", 10 + i);
    };
    beforeEach(() => {
      opened = [];
    });
    afterEach(async () => {
      for (const each of opened) await each.close();
      await bed.close();
    });

    const configurationOf = (change: Partial<SourceConfiguration> = {}): SourceConfiguration => ({
      name: "outside",
      about: "",
      kind: bed.kind,
      measure: "on_hand",
      settings: bed.connection,
      pulls: bed.pulls,
      location: bed.location,
      locations: new Map(),
      otherLocations: "same",
      units: undefined,
      perSecond: 500,
      timeoutMs: 5_000,
      retries: 3,
      freshnessMs: 1,
      folder: "/",
      ...change,
    });
    const opens = async (change: Partial<SourceConfiguration> = {}, clock?: Scheduler): Promise<OpenedSource> => {
      const options = { zone: "Asia/Shanghai", secrets: features.secrets };
      const one = await openSource(configurationOf(change), options, clock);
      opened.push(one);
      return one;
    };
    const pull = async (
      { source }: OpenedSource,
      { request = { kind: "snapshot" }, acknowledge = false }: { request?: PullRequest; acknowledge?: boolean } = {},
    ): Promise<{ rows: StockRow[]; pages: SourcePage[] }> => {
      const map = rowMapper(
        configurationOf(),
        request.kind,
        bed.pulls[request.kind] as NonNullable<SourceConfiguration["pulls"]["snapshot"]>,
        "Asia/Shanghai",
      );
      const rows: StockRow[] = [];
      const pages: SourcePage[] = [];
      const { signal } = new AbortController();
      for await (const page of source.pull(request, signal)) {
        pages.push(page);
        for (const raw of page.rows) {
          const reading = map(raw);
          expect(reading).toHaveProperty("row");
          rows.push((reading as { row: StockRow }).row);
        }
        if (acknowledge) await page.acknowledge?.(signal);
      }
      return { rows, pages };
    };
    const cellsOf = (rows: readonly StockRow[]): string[] =>
      rows.map(({ sku, location, units }) => `${sku} ${features.hasLocations ? location : ""} ${units}`).sort();
    const expected = (): string[] =>
      bed.stock.cells
        .map(({ sku, location, units }) => `${sku} ${features.hasLocations ? location : ""} ${units}`)
        .sort();
    const failure = async (work: Promise<unknown>): Promise<EngineError> => {
      const thrown = await work.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(thrown).toBeInstanceOf(EngineError);
      for (const secret of features.secrets) expect((thrown as Error).message).not.toContain(secret);
      return thrown as EngineError;
    };

    it("gives every cell once, in pages", async () => {
      await begin();
      const { rows, pages } = await pull(await opens(), { acknowledge: true });
      expect(cellsOf(rows)).toEqual(expected());
      expect(pages.filter(({ rows: { length } }) => length > 0).length).toBe(Math.ceil(CELLS / features.pageRows));
      for (const page of pages) expect(page.rows.length).toBeLessThanOrEqual(features.pageRows);
      expect(new Set(pages.flatMap((page) => page.rows.map(({ place }) => place))).size).toBe(CELLS);
    });

    it("names a source, its own fields and its rate", async () => {
      await begin();
      const { name: kind, perSecond, pulls } = bed.kind;
      expect(kind).toMatch(/^[a-z0-9-]+$/);
      expect(perSecond).toBeGreaterThan(0);
      expect(pulls).toContain("snapshot");
    });

    if (features.paced)
      it("is never throttled while the configured rate is the source's", async () => {
        await begin(5);
        const one = await opens({ perSecond: 5 });
        await pull(one, { acknowledge: true });
        const { rows } = await pull(one, { acknowledge: true });
        expect(bed.figures.throttled).toBe(0);
        if (!features.acknowledges) expect(cellsOf(rows)).toEqual(expected());
      });

    if (features.timed !== false)
      it("waits and asks again when it is throttled", async () => {
        await begin(2);
        const { rows } = await pull(await opens({ retries: 500 }, quick), { acknowledge: true });
        expect(cellsOf(rows)).toEqual(expected());
        expect(bed.figures.throttled).toBeGreaterThan(0);
      });

    it.each(["fail", "cut"] as const)("gives everything in the end when an answer half-way fails: %s", async (how) => {
      await begin();
      bed.fail(how, 1, 1);
      const one = await opens({}, quick);
      const seen = new Map<string, StockRow>();
      for (let attempt = 0; attempt < 3; attempt++) {
        const outcome = await pull(one, { acknowledge: true }).then(
          ({ rows }) => rows,
          (thrown: unknown) => thrown as EngineError,
        );
        if (!Array.isArray(outcome)) {
          expect(outcome).toMatchObject({ retryable: true });
          continue;
        }
        for (const row of outcome) seen.set(`${row.sku} ${row.location}`, row);
        break;
      }
      expect(bed.figures.failed).toBe(1);
      // A source of changes does not give again what was acknowledged before the failure.
      if (!features.acknowledges) expect(cellsOf([...seen.values()])).toEqual(expected());
      else expect(seen.size).toBeGreaterThan(0);
    });

    it("reports that it may be tried later when there is no answer at all, and no secret", async () => {
      await begin();
      bed.fail("fail", 100);
      const error = await failure(pull(await opens({ retries: 1 }, quick)));
      expect(error).toMatchObject({ retryable: true });
      expect(bed.figures.requests).toBe(2);
    });

    it("is refused for good with a wrong secret, and shows none", async () => {
      await begin();
      const error = await failure(pull(await opens({ settings: bed.wrongConnection }, quick)));
      expect(error).toMatchObject({ retryable: false });
      expect(bed.figures.requests).toBe(1);
    });

    it("sends nothing more when the pull is ended early", async () => {
      await begin();
      const { source } = await opens();
      for await (const page of source.pull({ kind: "snapshot" }, new AbortController().signal))
        if (page.rows.length > 0) break;
      const sent = bed.figures.requests;
      await sleep(20);
      expect(bed.figures.requests).toBe(sent);
    });

    it("does not begin once it is aborted", async () => {
      await begin();
      const { source } = await opens();
      const ended = AbortSignal.abort(new Error("stopped"));
      const pages = source.pull({ kind: "snapshot" }, ended)[Symbol.asyncIterator]();
      await expect(pages.next()).rejects.toThrow("stopped");
      expect(bed.figures.requests).toBe(0);
    });

    it("ends without an acknowledgement, and gives the rows again", async () => {
      await begin();
      const one = await opens();
      const { rows: first } = await pull(one);
      const { rows: second } = await pull(one, { acknowledge: true });
      expect(first.length).toBeGreaterThan(0);
      expect(cellsOf(second)).toEqual(expected());
      const { rows: third } = await pull(one);
      expect(third.length).toBe(features.acknowledges ? 0 : CELLS);
    });

    if (features.movements)
      it("gives the movements of a span, each with its id, time and sign", async () => {
        await begin();
        const atMs = Math.floor(systemClock.now() / 1_000) * 1_000;
        const booked = [-60_000, -5_000, -4_000, 0].map((offset, i) => ({
          ...{ id: `move-${i}`, sku: `SKU-${i}`, location: i % 2 === 0 ? "A" : "B" },
          ...{ units: -(i + 1), atMs: atMs + offset },
        }));
        for (const movement of booked) bed.stock.move(movement);
        const request = { kind: "movements", fromMs: atMs - 5_000, toMs: atMs } as const;
        const { rows } = await pull(await opens(), { request });
        const seen = rows.map(({ id, sku, units, timeMs }) => ({ id, sku, units, atMs: timeMs }));
        expect(seen.sort((a, b) => (a.id as string).localeCompare(b.id as string))).toEqual(
          booked.slice(1, 3).map(({ sku, units, atMs: at }) => expect.objectContaining({ sku, units, atMs: at })),
        );
        expect(new Set(rows.map(({ id }) => id)).size).toBe(2);
      });
  });
}
