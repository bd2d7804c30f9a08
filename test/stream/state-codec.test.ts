/**
 * The stored bytes of a state: no header for version 1, versions and periods of any size, an upgrade from each older
 * version, and a clear error for a newer one.
 */
import { describe, expect, it } from "vitest";
import { decodeState, encodeState } from "../../engine/stream/pack.js";
import {
  checkJobs,
  encodeWithHeader,
  type StateShape,
  stateOf,
  withoutHeader,
} from "../../engine/stream/state-codec.js";
import { toyJob } from "./toy.js";

interface Sum {
  units: number;
  from: string;
}

const plain: StateShape<Sum> = { name: "sum.1" };
const third: StateShape<Sum> = {
  name: "sum.1",
  version: 3,
  upgrade: (old, from, key) => ({ units: (old as { n: number }).n, from: `${key} of ${from}` }),
};

describe("a stored state", () => {
  it("of version 1 is its packed value and nothing else", () => {
    const bytes = encodeState({ units: 5, from: "" });
    expect(stateOf(plain, "a", bytes)).toEqual({ units: 5, from: "" });
    expect(withoutHeader(bytes)).toBe(bytes);
  });

  it("of the job's version is read as it is, with any version and period in its header", () => {
    for (const version of [1, 2, 127, 128, 70_000])
      for (const period of [undefined, 0, 20_421, 2 ** 31]) {
        const bytes = encodeWithHeader(version, period, { units: 5, from: "x".repeat(1_000) });
        expect(stateOf({ name: "sum.1", version }, "a", bytes)).toEqual({ units: 5, from: "x".repeat(1_000) });
        expect(decodeState(withoutHeader(bytes))).toEqual({ units: 5, from: "x".repeat(1_000) });
      }
  });

  it("of an older version is upgraded, with and without a header", () => {
    expect(stateOf(third, "a", encodeState({ n: 7 }))).toEqual({ units: 7, from: "a of 1" });
    expect(stateOf(third, "b", encodeWithHeader(2, undefined, { n: 8 }))).toEqual({ units: 8, from: "b of 2" });
  });

  it("of a newer version is an error that names both versions, never a value", () => {
    const newer = encodeWithHeader(3, undefined, { units: 5, from: "" });
    expect(() => stateOf(plain, "a", newer)).toThrow("its state of sum.1 is of version 3; this release reads up to 1");
  });

  it("cannot be read by a job of a later version without an upgrade", () => {
    expect(() => stateOf({ name: "sum.1", version: 2 }, "a", encodeState({ n: 1 }))).toThrow(
      "no upgrade from version 1",
    );
  });

  it("with a damaged header is an error", () => {
    expect(() => stateOf(plain, "a", Buffer.from([0xc1, 0xff, 0xc0, 0x80]))).toThrow("cannot be read");
    expect(() => stateOf(plain, "a", Buffer.from([0xc1]))).toThrow();
  });
});

it("a job of a later version starts only where the deployment's format allows its states", () => {
  expect(() => checkJobs([{ ...toyJob(), version: 2 }], 2)).toThrow("upgrade --finish");
  checkJobs([{ ...toyJob(), version: 2 }], 3);
  checkJobs([toyJob()], 1);
});
