/**
 * Pairs the effects of events with a source's movements where they share no id: equal units at the same location, at
 * most a tolerance apart in time (R15). As many as possible are paired. For what is left over it returns all that could
 * be left over instead, by exchanging partners: with two equal effects and one movement near both, either may be the
 * one without. Pure.
 */

import type { Movement } from "../model.js";
import type { BookableEvent } from "./divergence-cause.js";

/** An effect of an event at one location. */
export interface Effect {
  readonly bookable: BookableEvent;
  readonly location: string;
  readonly units: number;
  readonly atMs: number;
}

/** How many items may still be looked at, by all matchings of one search, for what could be left over instead. */
export interface Looks {
  left: number;
}

/** The most pairs of effects and movements of the same location and units, each within the tolerance. */
export class Matching {
  readonly openEffects: Effect[] = [];
  readonly openMovements: Movement[] = [];
  readonly #effects: readonly Effect[];
  readonly #movements: readonly Movement[];
  readonly #toleranceMs: number;
  readonly #looks: Looks;
  readonly #movementOf = new Map<Effect, Movement>();
  readonly #effectOf = new Map<Movement, Effect>();

  constructor(effects: readonly Effect[], movements: readonly Movement[], toleranceMs: number, looks: Looks) {
    this.#looks = looks;
    this.#effects = [...effects].sort(byTime);
    this.#movements = [...movements].sort(byTime);
    this.#toleranceMs = toleranceMs;
    let [e, m] = [0, 0];
    // With one tolerance for all, pairing in the order of time makes as many pairs as there can be.
    while (e < this.#effects.length || m < this.#movements.length) {
      const [effect, movement] = [this.#effects[e], this.#movements[m]];
      if (effect && movement && this.#isNear(effect, movement)) {
        this.#movementOf.set(effect, movement);
        this.#effectOf.set(movement, effect);
        e++;
        m++;
      } else if (effect && (!movement || effect.atMs < movement.atMs)) {
        this.openEffects.push(effect);
        e++;
      } else {
        this.openMovements.push(movement as Movement);
        m++;
      }
    }
  }

  get pairs(): number {
    return this.#movementOf.size;
  }

  /**
   * Effects of which one has no partner, in whatever way as many as possible are paired; with it itself. Undefined:
   * too many have been looked at to decide.
   */
  couldBeOpenInsteadOf(open: Effect): Effect[] | undefined {
    const reached = this.#reachedFrom(open, this.#movements, this.#effectOf);
    return reached && [open, ...reached.partners].sort(byTime);
  }

  /** The same for movements, and the effects near them. */
  couldBeSurplusInsteadOf(open: Movement): { all: Movement[]; near: Effect[] } | undefined {
    const reached = this.#reachedFrom(open, this.#effects, this.#movementOf);
    return reached && { all: [open, ...reached.partners].sort(byTime), near: reached.near };
  }

  /**
   * What is near an item, and near the partners of that, and so on. Each partner is near the one through which it was
   * reached, so that all of it is one range in the order of time, and each is looked at once.
   */
  #reachedFrom<Own extends { atMs: number }, Other extends { atMs: number }>(
    open: Own,
    others: readonly Other[],
    partnerOf: ReadonlyMap<Other, Own>,
  ): { near: Other[]; partners: Own[] } | undefined {
    const partners: Own[] = [];
    let [from, to] = near(others, open.atMs, this.#toleranceMs);
    let [first, end] = [from, from];
    while (first > from || end < to) {
      if (this.#looks.left-- <= 0) return undefined;
      const partner = partnerOf.get(others[end < to ? end++ : --first] as Other);
      if (!partner) continue;
      partners.push(partner);
      const [low, high] = near(others, partner.atMs, this.#toleranceMs);
      [from, to] = [Math.min(from, low), Math.max(to, high)];
    }
    return { near: others.slice(first, end), partners };
  }

  #isNear(a: { atMs: number }, b: { atMs: number }): boolean {
    return Math.abs(a.atMs - b.atMs) <= this.#toleranceMs;
  }
}

const byTime = (a: { atMs: number }, b: { atMs: number }): number => a.atMs - b.atMs;

/** The range of those within the tolerance of an instant, its end exclusive; sorted by time. */
function near(sorted: readonly { atMs: number }[], atMs: number, toleranceMs: number): [from: number, to: number] {
  return [
    firstFrom(sorted, (each) => each >= atMs - toleranceMs),
    firstFrom(sorted, (each) => each > atMs + toleranceMs),
  ];
}

function firstFrom(sorted: readonly { atMs: number }[], isReached: (atMs: number) => boolean): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isReached((sorted[middle] as { atMs: number }).atMs)) high = middle;
    else low = middle + 1;
  }
  return low;
}
