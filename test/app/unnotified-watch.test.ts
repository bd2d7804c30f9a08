/** Alerts that nobody was notified of: reported once somebody can be reached, the newest first, and not before. */
import { beforeEach, expect, it } from "vitest";
import type { Directory } from "../../engine/alerting/directory.js";
import { NO_CHANNELS } from "../../engine/alerting/directory.js";
import { UnnotifiedWatch } from "../../engine/app/unnotified-watch.js";
import type { AlertRecord } from "../../engine/jobs/alerts/state.js";
import type { NewEvent } from "../../engine/stream/event-entry.js";

const TRAITS = { perMinute: 20, confirmsDisplay: false, sendsChanges: false };
const NOBODY: Directory = { ...NO_CHANNELS, people: [], devices: [] };
const ROBOT: Directory = {
  ...NOBODY,
  endpoints: [{ name: "robot", channel: "wecom", language: "zh", traits: TRAITS }],
};

const recordOf = (id: string, more: Partial<AlertRecord> = {}): AlertRecord => ({
  alert: {
    ...{ id, rule: "breaker", subject: "shop", severity: "critical", state: "fired", firedMs: 0, figures: {} },
  },
  level: 0,
  recipients: [],
  ...more,
});

let nowMs: number;
let open: AlertRecord[];
let directory: Directory;
let reads: number;
let appended: NewEvent[];
let troubles: string[];
let isDown: boolean;
let watch: UnnotifiedWatch;

beforeEach(() => {
  [nowMs, open, directory, reads, appended, troubles, isDown] = [0, [], NOBODY, 0, [], [], false];
  watch = new UnnotifiedWatch({
    open: () => open,
    directory: {
      read: async () => {
        reads++;
        return directory;
      },
    },
    append: async (events) => {
      if (isDown) throw new Error("Redis is down");
      appended.push(...events);
    },
    onTrouble: (message) => troubles.push(message),
    stopwatchOf: () => {
      const startMs = nowMs;
      return () => nowMs - startMs;
    },
  });
});

const turnAt = async (ms: number): Promise<number> => {
  nowMs = ms;
  appended = [];
  await watch.turn();
  return appended.length;
};

it("reports an alert when somebody can be reached, and again a minute later while nobody was notified", async () => {
  open = [recordOf("breaker~shop#1")];
  expect([await turnAt(0), await turnAt(6_000), reads]).toEqual([0, 0, 1]);
  directory = ROBOT;
  expect([await turnAt(11_000), await turnAt(16_000), await turnAt(72_000)]).toEqual([1, 0, 1]);
  expect(appended[0]).toMatchObject({ key: "breaker~shop", kind: "reachable" });
});

it("leaves out who was notified, is acknowledged, silenced or has a next level, and reads nothing then", async () => {
  directory = ROBOT;
  const acknowledged = { ...recordOf("b#2").alert, state: "acknowledged" as const };
  open = [
    recordOf("b#1", { recipients: ["endpoint:robot"] }),
    recordOf("b#2", { alert: acknowledged }),
    recordOf("b#3", { silence: { id: "S", untilMs: 9 } }),
    recordOf("b#4", { nextMs: 9 }),
  ];
  expect([await turnAt(0), await turnAt(60_000), reads]).toEqual([0, 0, 0]);
});

it("reports a limited number in one turn, and the rest with the next", async () => {
  directory = ROBOT;
  open = Array.from({ length: 450 }, (_, i) => recordOf(`b#${i}`));
  await turnAt(0);
  expect([await turnAt(6_000), await turnAt(11_000), await turnAt(16_000), await turnAt(21_000)]).toEqual([
    200, 200, 50, 0,
  ]);
});

it("says once that Redis does not answer, and goes on", async () => {
  [directory, isDown] = [ROBOT, true];
  open = [recordOf("b#1")];
  await turnAt(0);
  expect([await turnAt(6_000), await turnAt(11_000), troubles.length]).toEqual([0, 0, 1]);
  isDown = false;
  expect(await turnAt(16_000)).toBe(1);
});
