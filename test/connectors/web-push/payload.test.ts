/**
 * What a push contains fits into what every push service takes, whatever names a shop gives its SKUs and however many
 * alerts there are, and one that is cut names no single alert that a tap could acknowledge by mistake.
 */
import { describe, expect, it } from "vitest";
import { MAX_PAYLOAD_BYTES, pushContentOf } from "../../../connectors/web-push/payload.js";
import type { Message } from "../../../engine/alerting/notification.js";
import { alertOf, messageOf } from "./bed.js";

const HOSTILE = [
  "𠜎".repeat(64),
  "\\".repeat(64),
  '"'.repeat(64),

  "@all".repeat(16),
  "A".repeat(64),
];
const TYPES: readonly Message["type"][] = ["alert", "summary", "change", "repeat", "test"];

describe("a payload", () => {
  it("fits for 1, 20 and 500 alerts with hostile names, in both languages", () => {
    for (const name of HOSTILE)
      for (const total of [1, 2, 20, 500])
        for (const type of TYPES)
          for (const language of ["zh", "en"] as const) {
            const alerts = Array.from({ length: Math.min(20, total) }, (_, i) => alertOf(`${name.slice(0, -2)}${i}`));
            const message = messageOf(type === "test" ? [] : alerts, { total, type, language });
            const { payload, topic } = pushContentOf(message, "d".repeat(16), undefined);
            expect(Buffer.byteLength(payload)).toBeLessThanOrEqual(MAX_PAYLOAD_BYTES);
            expect(topic).toMatch(/^[A-Za-z0-9_-]{32}$/);
            const { shuiwei } = JSON.parse(payload) as { shuiwei: { alertIds: string[] } };
            if (total > 1 && type !== "test") expect(shuiwei.alertIds.length).toBeGreaterThan(1);
          }
  });

  it("links to the page itself when the deployment has no public address", () => {
    const { payload } = pushContentOf(messageOf([alertOf("CUP")]), "d1", undefined);
    expect(JSON.parse(payload)).toMatchObject({ notification: { navigate: "/phone#alert=CUP%231" } });
  });

  it("is without a sound only when it reports a change", () => {
    const silent = TYPES.filter((type) => {
      const { payload } = pushContentOf(messageOf([alertOf("CUP")], { type }), "d1", undefined);
      return (JSON.parse(payload) as { notification: { silent?: boolean } }).notification.silent === true;
    });
    expect(silent).toEqual(["change"]);
  });
});
