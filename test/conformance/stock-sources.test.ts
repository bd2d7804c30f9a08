/** The kinds of sources of stock against their contract, each with the sandbox of its outside system. */
import { oracleEbsKind } from "../../connectors/oracle-ebs/kind.js";
import { ORACLE_EBS_SANDBOX, OracleEbsSandbox } from "../../connectors/oracle-ebs/sandbox.js";
import { httpKind } from "../../connectors/sources/http-kind.js";
import { SourceSandbox } from "../../connectors/sources/sandbox.js";
import { wangdianKind } from "../../connectors/wangdian/kind.js";
import { WANGDIAN_SANDBOX, WangdianSandbox } from "../../connectors/wangdian/sandbox.js";
import { youzanKind } from "../../connectors/youzan/kind.js";
import { YOUZAN_SANDBOX, YouzanSandbox } from "../../connectors/youzan/sandbox.js";
import { describeStockSource, type StockSourceBed } from "./stock-source.js";

const TOKEN = "the-token-of-this-test";
const PAGE_ROWS = 4;

const http = async (perSecond: number, connection: (url: string) => object): Promise<StockSourceBed> => {
  const sandbox = new SourceSandbox({ token: TOKEN, perSecond, pageRows: PAGE_ROWS });
  await sandbox.start();
  const settings = {
    ...connection(sandbox.url),
    movements: { url: `${sandbox.url}/movements`, fromParameter: "from", toParameter: "to" },
  };
  const pull = { schedule: { everyMs: 60_000 }, timeFormat: "iso", reachMs: 86_400_000 };
  const fields = { sku: "sku", location: "location", units: "units" };
  return {
    kind: httpKind,
    connection: { ...settings, auth: { bearer: TOKEN } },
    wrongConnection: { ...settings, auth: { bearer: "another-token-entirely" } },
    pulls: { snapshot: { ...pull, fields }, movements: { ...pull, fields: { ...fields, id: "id", time: "time" } } },
    stock: sandbox.stock,
    figures: sandbox.figures,
    fail: (how, times, after) => sandbox.fail(how, times, after),
    close: () => sandbox.stop(),
  };
};

const FEATURES = {
  pageRows: PAGE_ROWS,
  secrets: [TOKEN],
  acknowledges: false,
  movements: true,
  hasLocations: true,
};
const HEADERS = { asOf: "x-as-of", id: "x-snapshot-id", totalRows: "x-total-rows", paging: { link: {} } };

describeStockSource("HTTP with NDJSON", { ...FEATURES, paced: true }, (perSecond) =>
  http(perSecond, (url) => ({ url: `${url}/stock`, format: "ndjson", ...HEADERS })),
);
describeStockSource("HTTP with CSV", { ...FEATURES, movements: false, timed: false }, (perSecond) =>
  http(perSecond, (url) => ({ url: `${url}/stock.csv`, format: "csv", ...HEADERS })),
);
describeStockSource("HTTP with JSON", { ...FEATURES, movements: false, timed: false }, (perSecond) =>
  http(perSecond, (url) => ({
    ...{ url: `${url}/stock.json`, format: "json", rows: "/items", asOf: "/asOf", id: "/id", totalRows: "/totalRows" },
    paging: { cursor: { parameter: "cursor", next: "/next" } },
  })),
);

const wangdian = async (perSecond: number, stock: "warehouse" | "shop"): Promise<StockSourceBed> => {
  const sandbox = new WangdianSandbox({ perSecond, changeRows: PAGE_ROWS });
  await sandbox.start();
  const shop = stock === "shop" ? { shop: "own" } : { firstDays: 1, pageRows: PAGE_ROWS };
  const connection = { url: sandbox.url, ...WANGDIAN_SANDBOX, stock, ...shop };
  const pull = { schedule: { everyMs: 60_000 }, timeFormat: "iso", reachMs: 86_400_000 };
  const { snapshot = {}, movements = {} } = wangdianKind.fields ?? {};
  return {
    kind: wangdianKind,
    connection,
    wrongConnection: { ...connection, appSecret: "another-secret-entirely" },
    pulls: { snapshot: { ...pull, fields: snapshot }, movements: { ...pull, fields: movements } },
    ...(stock === "shop" ? { location: "main" } : {}),
    stock: sandbox.stock,
    figures: sandbox.figures,
    fail: (how, times, after) => sandbox.fail(how, times, after),
    close: () => sandbox.stop(),
  };
};
const WANGDIAN = { pageRows: PAGE_ROWS, secrets: [WANGDIAN_SANDBOX.appSecret, "another-secret-entirely"] };

describeStockSource(
  "Wangdian's stock by warehouse",
  { ...WANGDIAN, acknowledges: false, movements: true, hasLocations: true },
  (perSecond) => wangdian(perSecond, "warehouse"),
);
describeStockSource(
  "Wangdian's stock of a shop",
  { ...WANGDIAN, acknowledges: true, movements: false, hasLocations: false, timed: false },
  (perSecond) => wangdian(perSecond, "shop"),
);

const youzan = async (perSecond: number, specifications: number): Promise<StockSourceBed> => {
  const sandbox = new YouzanSandbox({ perSecond, specifications });
  await sandbox.start();
  const hasSome = specifications > 1;
  const connection = { url: sandbox.url, ...YOUZAN_SANDBOX, specifications: hasSome, pageRows: PAGE_ROWS };
  const pull = { schedule: { everyMs: 60_000 }, timeFormat: "iso", reachMs: 86_400_000 };
  const { snapshot = {}, movements = {} } = youzanKind.fields ?? {};
  return {
    kind: youzanKind,
    connection,
    wrongConnection: { ...connection, clientSecret: "another-secret-entirely" },
    pulls: { snapshot: { ...pull, fields: snapshot }, movements: { ...pull, fields: movements } },
    location: "main",
    stock: sandbox.stock,
    figures: sandbox.figures,
    fail: (how, times, after) => sandbox.fail(how, times, after),
    close: () => sandbox.stop(),
  };
};
const YOUZAN = {
  ...{ pageRows: PAGE_ROWS, secrets: [YOUZAN_SANDBOX.clientSecret, "another-secret-entirely"] },
  ...{ acknowledges: false, movements: true, hasLocations: false },
};

describeStockSource("a Youzan shop", YOUZAN, (perSecond) => youzan(perSecond, 1));
describeStockSource("a Youzan shop with specifications", { ...YOUZAN, timed: false }, (perSecond) =>
  youzan(perSecond, 3),
);

const oracleEbs = async (perSecond: number): Promise<StockSourceBed> => {
  const sandbox = new OracleEbsSandbox({ perSecond });
  await sandbox.start();
  const connection = { url: sandbox.url, ...ORACLE_EBS_SANDBOX, pageRows: PAGE_ROWS };
  const pull = { schedule: { everyMs: 60_000 }, timeFormat: "iso", reachMs: 86_400_000 };
  const { unit: _, ...snapshot } = oracleEbsKind.fields?.snapshot ?? {};
  const { unit: __, ...movements } = oracleEbsKind.fields?.movements ?? {};
  return {
    kind: oracleEbsKind,
    connection,
    wrongConnection: { ...connection, password: "another-password-entirely" },
    // Subinventories of the sandbox are the suite's locations.
    pulls: {
      snapshot: { ...pull, fields: { ...snapshot, location: "SUBINVENTORY_CODE" } },
      movements: { ...pull, fields: { ...movements, location: "SUBINVENTORY_CODE" } },
    },
    stock: sandbox.stock,
    figures: sandbox.figures,
    fail: (how, times, after) => sandbox.fail(how, times, after),
    close: () => sandbox.stop(),
  };
};

describeStockSource(
  "Oracle E-Business Suite",
  {
    ...{ pageRows: PAGE_ROWS, secrets: [ORACLE_EBS_SANDBOX.password, "another-password-entirely"] },
    // It refuses with status 429, as the sandbox of HTTP does.
    ...{ acknowledges: false, movements: true, hasLocations: true, timed: false },
  },
  oracleEbs,
);
