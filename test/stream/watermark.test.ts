/** Which events are still in time: an event counts while the pane of its minute is kept. */
import { describe, expect, it } from "vitest";
import { isInWindow } from "../../engine/stream/watermark.js";

const minute = (m: number, ms = 0): number => m * 60_000 + ms;

describe("an event of the past", () => {
  it("is in the window while its minute is one of the last 60", () => {
    const watermark = minute(100, 12_345);
    expect(isInWindow(minute(100), watermark, 60)).toBe(true);
    expect(isInWindow(minute(41), watermark, 60)).toBe(true);
    expect(isInWindow(minute(40, 59_999), watermark, 60)).toBe(false);
  });

  it("is compared by minutes, not milliseconds: 60 minutes and a second may still be in", () => {
    expect(isInWindow(minute(41), minute(100, 59_999), 60)).toBe(true);
    expect(isInWindow(minute(41), minute(101), 60)).toBe(false);
  });

  it("is in a window of one minute only in that minute", () => {
    expect(isInWindow(minute(7), minute(7, 59_999), 1)).toBe(true);
    expect(isInWindow(minute(6, 59_999), minute(7), 1)).toBe(false);
  });
});
