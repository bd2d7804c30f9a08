/** Which tables are rejected before an engine starts. */
import { describe, expect, it } from "vitest";
import { checkTables, eventTopicEntry, PRODUCT_TABLES } from "../../engine/app/tables.js";

describe("tables", () => {
  it("fit together in the product", () => {
    expect(() => checkTables(PRODUCT_TABLES)).not.toThrow();
  });

  it("are rejected when a topic has no job: nothing would read its log", () => {
    const topics = [...PRODUCT_TABLES.topics, eventTopicEntry({ name: "idle" })];
    expect(() => checkTables({ ...PRODUCT_TABLES, topics })).toThrow("no job reads the topic idle");
  });
});
