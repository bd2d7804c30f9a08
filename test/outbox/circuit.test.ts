/** The circuit breaker by the clock of the test. */
import { describe, expect, it } from "vitest";
import { Circuit } from "../../engine/outbox/circuit.js";

const OPTIONS = { failures: 3, firstPauseMs: 100, longestPauseMs: 350 };

function opened(): Circuit {
  const circuit = new Circuit(OPTIONS);
  for (let i = 0; i < 3; i++) circuit.failed(0, circuit.sent());
  return circuit;
}

describe("a circuit", () => {
  it("opens after so many failures in a row, and not before", () => {
    const circuit = new Circuit(OPTIONS);
    for (const answer of ["failed", "failed", "answered", "failed", "failed"]) {
      if (answer === "failed") circuit.failed(0, circuit.sent());
      else circuit.answered();
    }
    expect(circuit.state(0)).toBe("closed");
    circuit.failed(5, circuit.sent());
    expect(circuit.state(5)).toBe("open");
    expect(circuit.waitMs(65)).toBe(40);
  });

  it("allows one probe after its pause, and nothing beside it", () => {
    const circuit = opened();
    expect(circuit.waitMs(100)).toBe(0);
    expect(circuit.state(100)).toBe("half_open");
    expect(circuit.sent()).toBe(true);
    expect(circuit.waitMs(100)).toBe(Number.POSITIVE_INFINITY);
    circuit.answered();
    expect(circuit.state(101)).toBe("closed");
    expect(circuit.sent()).toBe(false);
  });

  it("pauses twice as long after each probe that fails, up to a limit, and anew after an answer", () => {
    const circuit = opened();
    let nowMs = 0;
    const pauses = [];
    for (let i = 0; i < 4; i++) {
      pauses.push(circuit.waitMs(nowMs));
      nowMs += circuit.waitMs(nowMs);
      circuit.failed(nowMs, circuit.sent());
    }
    expect(pauses).toEqual([100, 200, 350, 350]);
    circuit.answered();
    for (let i = 0; i < 3; i++) circuit.failed(nowMs, circuit.sent());
    expect(circuit.waitMs(nowMs)).toBe(100);
  });

  it("is not opened for longer by what was still on its way when it opened", () => {
    const circuit = opened();
    circuit.failed(90, false);
    expect(circuit.waitMs(90)).toBe(10);
  });

  it("sends another probe when the first one's answer is no longer awaited", () => {
    const circuit = opened();
    circuit.abandoned(circuit.sent());
    expect(circuit.waitMs(100)).toBe(0);
  });
});
