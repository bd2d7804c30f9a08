/** Which tables are rejected before an engine starts. */
import { describe, expect, it } from "vitest";
import type { Connector, Sink } from "../../connectors/connector.js";
import { checkTables, eventTopicEntry, PRODUCT_TABLES, sinksOf } from "../../engine/app/tables.js";

describe("tables", () => {
  it("fit together in the product", () => {
    expect(() => checkTables(PRODUCT_TABLES)).not.toThrow();
  });

  it("are rejected when a topic has no job: nothing would read its log", () => {
    const topics = [...PRODUCT_TABLES.topics, eventTopicEntry({ name: "idle" })];
    expect(() => checkTables({ ...PRODUCT_TABLES, topics })).toThrow("no job reads the topic idle");
  });

  it("are rejected when a sink has the name of a forwarder of its topic: they would share a cursor", () => {
    const routes = [{ from: "stock", kinds: ["seen"], event: () => undefined }];
    const topics = [...PRODUCT_TABLES.topics, eventTopicEntry({ name: "events", routes })];
    const jobs = PRODUCT_TABLES.jobs.map((entry) => ({ ...entry, topic: "events" }));
    const sink = { ...sinksOf(PRODUCT_TABLES)[0], name: "to-events", topic: "stock" } as Sink;
    const connectors = [...PRODUCT_TABLES.connectors, { name: "twin", sinks: [sink] } as unknown as Connector];
    const tables = { ...PRODUCT_TABLES, topics, jobs: [...PRODUCT_TABLES.jobs, ...jobs], connectors };
    expect(() => checkTables(tables)).toThrow("two sinks or forwarders of a topic have the same name");
  });
});
