/** The clock of the demo's shop: how fast its first day passes in real time. */
import { describe, expect, it } from "vitest";
import { DemoTime } from "../../engine/app/demo-time.js";
import { HOUR_MS, MINUTE_MS } from "../../engine/kernel/clock.js";

const MIDNIGHT_MS = Date.UTC(2026, 5, 17, 16);
/** As often as the demo's feed calls it. */
const STEP_MS = 15;

/** Runs the clock until a time of the day; answers the real milliseconds that this took. */
function realMsUntil(dayMs: number, speed: number, seen: (time: DemoTime) => void = () => {}): number {
  let realMs = 0;
  const time = new DemoTime(MIDNIGHT_MS - HOUR_MS, speed, { now: () => realMs });
  time.run(MIDNIGHT_MS);
  while (time.clock.now() < MIDNIGHT_MS + dayMs) {
    realMs += STEP_MS;
    time.keepPace();
    seen(time);
  }
  return realMs;
}

describe("the demo's clock", () => {
  it("is set by hand at normal speed until it runs", () => {
    const time = new DemoTime(MIDNIGHT_MS, 60, { now: () => 0 });
    time.moveTo(MIDNIGHT_MS + 5);
    expect([time.clock.now(), time.speed(), time.scene()]).toEqual([MIDNIGHT_MS + 5, 1, "history"]);
  });

  it("gives the rush's hour a minute, and reaches 18:00 within three and a half", () => {
    expect(realMsUntil(HOUR_MS, 60)).toBeCloseTo(60_000, -2);
    expect(realMsUntil(18 * HOUR_MS, 60)).toBeLessThan(210_000);
  });

  it("gives the ten minutes after 18:00 half a minute", () => {
    const tenMinutes = realMsUntil(18 * HOUR_MS + 10 * MINUTE_MS, 60) - realMsUntil(18 * HOUR_MS, 60);
    expect(tenMinutes).toBeCloseTo(30_000, -2);
  });

  it.each([5, 60, 600])("never goes back, at %s times", (speed) => {
    let before = 0;
    let isForward = true;
    realMsUntil(20 * HOUR_MS, speed, ({ clock }) => {
      isForward &&= clock.now() >= before;
      before = clock.now();
    });
    expect(isForward).toBe(true);
  });

  it("names its scene where the speed is another", () => {
    const scenes: string[] = [];
    realMsUntil(20 * HOUR_MS, 60, (time) => {
      const scene = `${time.scene()} ${time.speed()}`;
      if (scenes.at(-1) !== scene) scenes.push(scene);
    });
    expect(scenes).toEqual(["history 60", "forward 600", "drift 20", "history 60"]);
  });
});
