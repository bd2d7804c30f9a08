/**
 * How much of a random or a large test a run does: less in `npm test`, all of it in `npm run test:faults`, which sets
 * LONG_TESTS (vitest.faults.config.ts names the files). Both prove the same; the long run tries more cases.
 */
export const lengthOf = (lengths: { short: number; long: number }): number =>
  process.env["LONG_TESTS"] ? lengths.long : lengths.short;
