/**
 * Chain ids (R4): what they carry, how they sort, and which slips of a pen their check character finds.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CHAIN_ID_LENGTH,
  CHAIN_ID_PATTERN,
  CHAIN_ID_SALTS,
  CHAIN_ID_TIMES,
  COMMAND_ID_PATTERN,
  chainId,
  chainIdDay,
  chainIdFault,
  chainIdFromNumber,
  chainIdTimeMs,
} from "../../engine/kernel/chain-id.js";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const NOON_MS = Date.UTC(2025, 5, 18, 12);

const channels = fc.tuple(fc.constantFrom(...ALPHABET), fc.constantFrom(...ALPHABET)).map((pair) => pair.join(""));
const times = fc.integer({ min: 0, max: CHAIN_ID_TIMES - 1 });
const salts = fc.integer({ min: 0, max: CHAIN_ID_SALTS - 1 });
const ids = fc.tuple(channels, times, salts).map(([channel, timeMs, salt]) => chainIdFromNumber(channel, timeMs, salt));

describe("a chain id", () => {
  it("has its length and form, with and without a line number", () => {
    const id = chainId("WB", NOON_MS);
    expect(id).toHaveLength(CHAIN_ID_LENGTH);
    expect(id).toMatch(new RegExp(CHAIN_ID_PATTERN));
    expect(`${id}-9999`).toMatch(new RegExp(COMMAND_ID_PATTERN));
    expect(chainIdFault(id)).toBeUndefined();
    expect(chainIdFault(`${id}-1`)).toBeUndefined();
  });

  it.each(["-0", "-01", "-10000", "-", "-x"])("is rejected with the line number %s", (suffix) => {
    expect(chainIdFault(chainId("WB", NOON_MS) + suffix)).toMatch(/is not a chain id/);
  });

  it.each(["", "W", "wb", "WBX", "W-"])("is not made for the channel code %j", (channel) => {
    expect(() => chainId(channel, NOON_MS)).toThrow(/2 characters/);
    expect(() => chainIdFromNumber(channel, NOON_MS, 0)).toThrow(/2 characters/);
  });

  it("is the same for the same channel, time and reference, and another when one of them differs", () => {
    const id = chainId("WB", NOON_MS, "order 7");
    expect(chainId("WB", NOON_MS, "order 7")).toBe(id);
    const others = [
      chainId("WB", NOON_MS, "order 8"),
      chainId("WB", NOON_MS + 1, "order 7"),
      chainId("WC", NOON_MS, "order 7"),
    ];
    expect(new Set([id, ...others]).size).toBe(4);
  });

  it("keeps its form from release to release", () => {
    // Ids live in ledgers and in other people's systems: a change here would disown them.
    expect(chainId("WB", NOON_MS, "order 7")).toMatchInlineSnapshot(`"WB1JY1EJ2G0F8ZA1KMM8"`);
    expect(chainIdFromNumber("WB", NOON_MS, 7)).toMatchInlineSnapshot(`"WB1JY1EJ2G000000007S"`);
  });

  it("is random without a reference", () => {
    const made = new Set(Array.from({ length: 1_000 }, () => chainId("WB", NOON_MS)));
    expect(made.size).toBe(1_000);
  });

  it("contains its time and its UTC day", () => {
    fc.assert(
      fc.property(channels, times, salts, (channel, timeMs, salt) => {
        const id = chainIdFromNumber(channel, timeMs, salt);
        expect(chainIdTimeMs(id)).toBe(timeMs);
        expect(chainIdTimeMs(`${id}-12`)).toBe(timeMs);
        expect(chainIdDay(id)).toBe(Math.floor(timeMs / 86_400_000));
      }),
    );
    const midnight = Date.UTC(2025, 5, 18);
    expect(chainIdDay(chainId("WB", midnight))).toBe(chainIdDay(chainId("WB", midnight - 1)) + 1);
  });

  it("sorts by time as text within a channel", () => {
    fc.assert(
      fc.property(channels, times, times, salts, salts, (channel, one, other, salt, otherSalt) => {
        fc.pre(one !== other);
        expect(chainIdFromNumber(channel, one, salt) < chainIdFromNumber(channel, other, otherSalt)).toBe(one < other);
      }),
    );
  });
});

describe("a chain id from a number", () => {
  it("differs for every number", () => {
    fc.assert(
      fc.property(channels, times, salts, salts, (channel, timeMs, one, other) => {
        expect(chainIdFromNumber(channel, timeMs, one) === chainIdFromNumber(channel, timeMs, other)).toBe(
          one === other,
        );
      }),
    );
  });

  it("is a valid id at the ends of both ranges", () => {
    for (const timeMs of [0, CHAIN_ID_TIMES - 1]) {
      for (const salt of [0, CHAIN_ID_SALTS - 1])
        expect(chainIdFault(chainIdFromNumber("00", timeMs, salt))).toBeUndefined();
    }
  });

  it.each([-1, 0.5, Number.NaN, CHAIN_ID_TIMES])("rejects the time %d", (timeMs) => {
    expect(() => chainIdFromNumber("WB", timeMs, 0)).toThrow(/time .* does not fit/);
  });

  it.each([-1, 0.5, Number.NaN, CHAIN_ID_SALTS])("rejects the salt %d", (salt) => {
    expect(() => chainIdFromNumber("WB", NOON_MS, salt)).toThrow(/salt .* does not fit/);
  });
});

describe("the check character", () => {
  it("finds every substitution of a single character", () => {
    fc.assert(
      fc.property(ids, (id) => {
        for (let at = 0; at < CHAIN_ID_LENGTH; at++) {
          for (const sign of ALPHABET) {
            if (sign !== id.charAt(at)) expect(chainIdFault(id.slice(0, at) + sign + id.slice(at + 1))).toBeDefined();
          }
        }
      }),
    );
  });

  const swapped = (id: string, at: number) => id.slice(0, at) + id.charAt(at + 1) + id.charAt(at) + id.slice(at + 2);

  it("finds every swap of two neighbours that are not next to each other in the alphabet, 0 and Z included", () => {
    fc.assert(
      fc.property(ids, (id) => {
        for (let at = 0; at < CHAIN_ID_LENGTH - 1; at++) {
          const apart = Math.abs(ALPHABET.indexOf(id.charAt(at)) - ALPHABET.indexOf(id.charAt(at + 1)));
          if (apart > 1 && apart < ALPHABET.length - 1) expect(chainIdFault(swapped(id, at))).toBeDefined();
        }
      }),
    );
  });

  it("misses 1 in 630 of all possible swaps, as MOD 37,36 does", () => {
    // The system has 36 states; in each, exactly one of the 630 pairs of signs can be swapped unnoticed.
    const step = (state: number, value: number) => (((state + value) % 36 || 36) * 2) % 37;
    let missed = 0;
    for (let state = 1; state <= 36; state++) {
      for (let one = 0; one < 36; one++) {
        for (let other = 0; other < one; other++) {
          if (step(step(state, one), other) === step(step(state, other), one)) missed++;
        }
      }
    }
    expect(missed).toBe(36);
    // One of them, in a real id: the check character alone is not enough.
    expect(chainIdFault("WB1JY1EJ2G0000000101")).toBeUndefined();
    expect(chainIdFault("WB1JY1EJ2G0000000110")).toBeUndefined();
  });
});
