/** Which report wins by each policy, and when a person is asked. */
import { describe, expect, it } from "vitest";
import { MEASURES } from "../../../engine/reconciliation/model.js";
import {
  ASK_ALWAYS,
  type ConflictCandidate,
  winnerOf,
} from "../../../engine/reconciliation/settlement/conflict-policy.js";

const at = (source: string, units: number, asOfMs: number): ConflictCandidate => ({ source, units, asOfMs });
const ERP = at("erp", 10, 1_000);
const WMS = at("wms", 8, 2_000);
const SHOP = at("storefront", 9, 2_000);

const winner = (...args: Parameters<typeof winnerOf>) => {
  const decision = winnerOf(...args);
  return decision.outcome === "winner" ? decision.candidate.source : decision.reason;
};

describe("a conflict between sources", () => {
  it("is won by the first of the order that reports the cell", () => {
    const policy = { policy: "rank", order: ["wms", "erp"] } as const;
    expect(winner(policy, [ERP, SHOP, WMS])).toBe("wms");
    expect(winner(policy, [ERP, SHOP])).toBe("erp");
  });

  it("is left to a person when no party of the order reports the cell", () => {
    expect(winner({ policy: "rank", order: ["wms"] }, [ERP, SHOP])).toBe("none_ranked");
  });

  it("is won by the newest report", () => {
    expect(winner({ policy: "newest" }, [WMS, ERP])).toBe("wms");
  });

  it("is left to a person when two reports of the same instant differ", () => {
    expect(winner({ policy: "newest" }, [ERP, WMS, SHOP])).toBe("same_instant");
    expect(winner({ policy: "newest" }, [ERP, WMS, at("storefront", 8, 2_000)])).toBe("storefront");
  });

  it("is left to a person by the policy ask, unless all agree", () => {
    expect(winner({ policy: "ask" }, [ERP, WMS])).toBe("policy");
    expect(winner({ policy: "ask" }, [WMS, at("erp", 8, 1)])).toBe("erp");
  });

  it("has no winner without a report", () => {
    for (const measure of MEASURES) expect(winner(ASK_ALWAYS[measure], [])).toBe("no_candidate");
  });

  it("is decided the same in whatever order the reports come", () => {
    const policies = [{ policy: "rank", order: ["storefront"] }, { policy: "newest" }, { policy: "ask" }] as const;
    for (const policy of policies) expect(winner(policy, [SHOP, WMS, ERP])).toBe(winner(policy, [ERP, WMS, SHOP]));
  });
});
