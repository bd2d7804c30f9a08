/**
 * The outside systems of the demo: sandboxes of an ERP, a WMS and a storefront on loopback, and a configuration by
 * which the product's own runner pulls them, as in a real shop. Guarantee: what they give is the stock of one instant
 * of the shop's time, the one that was booked last. When they book, and what, is decided by the caller. They give no
 * movements, and no `Date`: at 600 times the time of an answer is minutes of the shop's.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { WAREHOUSES } from "../../connectors/demo-shop/catalogue.js";
import { ORACLE_EBS_SANDBOX, OracleEbsSandbox } from "../../connectors/oracle-ebs/sandbox.js";
import { openSources } from "../../connectors/sources/index.js";
import { SourceSandbox } from "../../connectors/sources/sandbox.js";
import type { Clock } from "../kernel/clock.js";
import type { Measure } from "../reconciliation/model.js";
import type { Engine } from "./engine.js";
import { PRODUCT_TABLES, sourceKindsOf } from "./tables.js";

export const DEMO_SYSTEMS = [
  { source: "erp", measure: "on_hand" },
  { source: "wms", measure: "on_hand" },
  { source: "storefront", measure: "display" },
] as const satisfies readonly { source: string; measure: Measure }[];

/** Who asks for pulls. */
export const DEMO_ACTOR = "demo";

export type DemoSystem = (typeof DEMO_SYSTEMS)[number]["source"];

/** Units of a SKU at a location. */
export interface BookedCell {
  readonly sku: string;
  readonly location: string;
  readonly units: number;
}

const FILE = "sources.json";
/** Beside the pulls that are asked for. At 600 times it is 18 s. */
const EVERY = "3h";
/** Two pages of the shop's 6,000 cells, at a rate that lets them follow each other at once. */
const PAGE_ROWS = 5_000;
const PER_SECOND = 50;
/** What the configuration names as variables of the environment. */
const SECRETS: Readonly<Record<string, string>> = {
  DEMO_ERP_PASSWORD: ORACLE_EBS_SANDBOX.password,
  DEMO_WMS_TOKEN: "demo-wms-token",
  DEMO_STOREFRONT_TOKEN: "demo-storefront-token",
};

export class DemoSystems {
  readonly #erp: OracleEbsSandbox;
  readonly #wms: SourceSandbox;
  readonly #storefront: SourceSandbox;
  #atMs = 0;
  #pulling: { close?(): unknown } | undefined;

  constructor() {
    // Their clock stands at the instant that they describe.
    const clock: Clock = { now: () => this.#atMs };
    const shared = { clock, isDated: false };
    this.#erp = new OracleEbsSandbox(shared);
    this.#wms = new SourceSandbox({ ...shared, token: SECRETS["DEMO_WMS_TOKEN"] as string, pageRows: PAGE_ROWS });
    const token = SECRETS["DEMO_STOREFRONT_TOKEN"] as string;
    this.#storefront = new SourceSandbox({ ...shared, token, pageRows: PAGE_ROWS });
  }

  async start(): Promise<void> {
    await Promise.all([this.#erp.start(), this.#wms.start(), this.#storefront.start()]);
  }

  async stop(): Promise<void> {
    await Promise.all([this.#erp.stop(), this.#wms.stop(), this.#storefront.stop()]);
  }

  /** Sets what all systems have at an instant. No answer has a part of it. */
  book(atMs: number, cells: Readonly<Record<DemoSystem, readonly BookedCell[]>>): void {
    this.#atMs = atMs;
    const stocks = { erp: this.#erp.stock, wms: this.#wms.stock, storefront: this.#storefront.stock };
    for (const { source } of DEMO_SYSTEMS)
      for (const { sku, location, units } of cells[source]) stocks[source].set(sku, location, units);
  }

  /**
   * Has all systems pulled at once.
   * @param reason for people who look at the sources
   */
  async pull(engine: DemoPullParts, reason: string): Promise<void> {
    const { reconciliation, clock } = engine;
    this.#pulling ??= await this.#startPulling(engine);
    // The runner would pull a new source anyway; but what the jobs have asked during the history is answered by this.
    await reconciliation.sources.requestPull({ atMs: clock.now(), actor: DEMO_ACTOR, reason });
  }

  async stopPulling(): Promise<void> {
    const pulling = this.#pulling;
    this.#pulling = undefined;
    await pulling?.close?.();
  }

  async #startPulling({ redis, clock, settings, reconciliation }: DemoPullParts): Promise<{ close?(): unknown }> {
    const file = join(settings.dir, FILE);
    await writeFile(file, `${JSON.stringify(this.#configuration(), undefined, 2)}\n`);
    const { prefix, zone, leaseMs, onTrouble } = settings;
    const { sources, sourceWatch, snapshots, movements } = reconciliation;
    return openSources(file, {
      ...{ redis, clock, prefix, zone, onTrouble, sources, sourceWatch, snapshots, movements },
      lease: { owner: DEMO_ACTOR, leaseMs },
      worker: true,
      sourceKinds: () => sourceKindsOf(PRODUCT_TABLES),
      environment: (name) => SECRETS[name],
    });
  }

  #configuration(): object {
    const { user, service, organizations } = ORACLE_EBS_SANDBOX;
    const [organization] = organizations;
    const schedule = { every: EVERY };
    const fields = { sku: "sku", location: "location", units: "units" };
    const about = Object.fromEntries(
      DEMO_SYSTEMS.map(({ source, measure }) => [
        source,
        { name: source, about: `the demo's ${TITLES[source]}, a sandbox`, measure, perSecond: PER_SECOND },
      ]),
    );
    const erp = {
      ...{ ...about["erp"], kind: "oracle-ebs" },
      connection: {
        ...{ url: this.#erp.url, user, service, organizations, pageRows: PAGE_ROWS },
        password: { env: "DEMO_ERP_PASSWORD" },
      },
      locations: Object.fromEntries(WAREHOUSES.map(({ location }) => [`${organization}/${location}`, location])),
      units: { EA: 1 },
      snapshot: { schedule },
    };
    // Without an id of theirs, what is pulled twice counts once.
    const wms = {
      ...{ ...about["wms"], kind: "http" },
      connection: {
        ...{ url: `${this.#wms.url}/stock`, format: "ndjson", paging: { link: {} } },
        ...{ asOf: "x-as-of", totalRows: "x-total-rows", auth: { bearer: { env: "DEMO_WMS_TOKEN" } } },
      },
      snapshot: { schedule, fields },
    };
    const storefront = {
      ...{ ...about["storefront"], kind: "http" },
      connection: {
        ...{ url: `${this.#storefront.url}/stock.json`, format: "json", rows: "/items" },
        paging: { cursor: { parameter: "cursor", next: "/next" } },
        ...{ asOf: "/asOf", totalRows: "/totalRows", auth: { bearer: { env: "DEMO_STOREFRONT_TOKEN" } } },
      },
      snapshot: { schedule, fields },
    };
    return { sources: [erp, wms, storefront] };
  }
}

/** The parts of the engine that pull them. */
export interface DemoPullParts extends Pick<Engine, "redis" | "clock"> {
  readonly settings: Pick<Engine["settings"], "dir" | "prefix" | "zone" | "leaseMs" | "onTrouble">;
  readonly reconciliation: Pick<Engine["reconciliation"], "sources" | "sourceWatch" | "snapshots" | "movements">;
}

const TITLES: Readonly<Record<DemoSystem, string>> = {
  erp: "ERP",
  wms: "warehouse",
  storefront: "storefront",
};
