/** The tables of an engine with everything of this folder. No other file names any of it. */
import { PRODUCT_TABLES, type Tables } from "../../engine/app/tables.js";
import { skuSettings } from "../../engine/stock/settings.js";
import { LOW_STOCK, LOW_STOCK_UNITS } from "./low-stock.js";
import { RESTOCK_FEED, RESTOCK_JOB, RESTOCK_TOPIC } from "./restock.js";
import { supplierConnector } from "./supplier.js";

export const EXTENDED_TABLES: Tables = {
  topics: [...PRODUCT_TABLES.topics, RESTOCK_TOPIC],
  jobs: [...PRODUCT_TABLES.jobs, LOW_STOCK, RESTOCK_JOB],
  ownSinks: PRODUCT_TABLES.ownSinks,
  connectors: [...PRODUCT_TABLES.connectors, supplierConnector],
  feeds: [...PRODUCT_TABLES.feeds, RESTOCK_FEED],
  skuSettings: skuSettings([...PRODUCT_TABLES.skuSettings, LOW_STOCK_UNITS]),
};
