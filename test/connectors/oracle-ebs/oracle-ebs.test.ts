/** What only Oracle E-Business Suite has: one instant of all pages, its faults, its forms of lists and nulls. */
import { afterEach, describe, expect, it } from "vitest";
import { oracleEbsKind } from "../../../connectors/oracle-ebs/kind.js";
import { ORACLE_EBS_SANDBOX, OracleEbsSandbox } from "../../../connectors/oracle-ebs/sandbox.js";
import type { PullRequest, SourcePage } from "../../../connectors/source.js";
import type { SourceConfiguration } from "../../../connectors/sources/configuration.js";
import { type OpenedSource, openSource } from "../../../connectors/sources/open-source.js";
import { type Scheduler, sleep, systemClock } from "../../../engine/kernel/clock.js";

const quick: Scheduler = { now: () => systemClock.now(), sleep: (ms, signal) => sleep(ms / 100, signal) };

describe("Oracle E-Business Suite", () => {
  let sandbox: OracleEbsSandbox;
  let opened: OpenedSource;
  const never = new AbortController().signal;

  const begin = async (connection: object = {}): Promise<void> => {
    sandbox = new OracleEbsSandbox();
    await sandbox.start();
    const configuration: SourceConfiguration = {
      ...{ name: "erp", about: "", kind: oracleEbsKind, measure: "on_hand", pulls: {}, location: undefined },
      ...{ locations: new Map(), otherLocations: "same", units: undefined },
      ...{ perSecond: 500, timeoutMs: 5_000, retries: 2, freshnessMs: 1, folder: "/" },
      settings: { url: sandbox.url, ...ORACLE_EBS_SANDBOX, pageRows: 2, ...connection },
    };
    opened = await openSource(configuration, { zone: "Asia/Shanghai", secrets: [] }, quick);
  };
  afterEach(async () => {
    await opened.close();
    await sandbox.stop();
  });

  const pull = (request: PullRequest = { kind: "snapshot" }) =>
    opened.source.pull(request, never)[Symbol.asyncIterator]();
  const pagesOf = async (request?: PullRequest): Promise<SourcePage[]> => {
    const pages: SourcePage[] = [];
    const pulled = pull(request);
    for (let next = await pulled.next(); !next.done; next = await pulled.next()) pages.push(next.value);
    return pages;
  };

  it("gives all pages as of the first one's instant, whatever is booked meanwhile", async () => {
    await begin();
    for (const sku of ["A", "B", "C"]) sandbox.stock.set(sku, "FGI", 10);
    const pages = pull();
    const first = (await pages.next()).value as SourcePage;
    sandbox.stock.move({ id: "1", sku: "C", location: "FGI", units: -4 });
    const second = (await pages.next()).value as SourcePage;
    expect(second.rows.map(({ fields }) => [fields["ITEM_NUMBER"], fields["QUANTITY"]])).toEqual([["C", "10"]]);
    expect(second.asOfMs).toBe(first.asOfMs);
    expect([first.totalRows, second.totalRows]).toEqual([3, 3]);
    expect((await pages.next()).done).toBe(true);
  });

  it("names a location by organization and subinventory", async () => {
    await begin();
    sandbox.stock.set("A", "FGI", 10);
    const [page] = await pagesOf();
    // One row comes as an object, not as a list.
    expect(page?.rows.map(({ fields, place }) => [place, fields["LOCATION"]])).toEqual([
      ["erp page 1 row 1", "M1/FGI"],
    ]);
  });

  it("takes a list without rows, which comes as a null", async () => {
    await begin();
    expect(await pagesOf()).toMatchObject([{ rows: [], totalRows: 0 }]);
  });

  it("reports that the pull may be tried later when the database no longer has the instant", async () => {
    await begin();
    for (const sku of ["A", "B", "C"]) sandbox.stock.set(sku, "FGI", 10);
    const pages = pull();
    await pages.next();
    sandbox.removeInstants();
    await expect(pages.next()).rejects.toMatchObject({ retryable: true, message: /ORA-01555/ });
  });

  it("does not take a page twice", async () => {
    await begin();
    for (const sku of ["A", "B", "C", "D", "E"]) sandbox.stock.set(sku, "FGI", 10);
    sandbox.repeatPages(1);
    await expect(pagesOf()).rejects.toMatchObject({ retryable: true, message: /page 2 comes twice/ });
    expect((await pagesOf()).length).toBe(3);
  });

  it("is refused for good when the service is not deployed", async () => {
    await begin({ service: "another" });
    await expect(pagesOf()).rejects.toMatchObject({ retryable: false, message: /ISG_INVALID_ALIAS/ });
    expect(sandbox.figures.requests).toBe(1);
  });
});
