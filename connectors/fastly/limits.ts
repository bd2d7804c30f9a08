/**
 * What Fastly takes of purges: 256 keys with one request, as its documents state. How many requests it takes is not
 * documented as a number for purges by key; ten in a second are a cautious choice (unconfirmed). The purger stays below
 * these limits, and the sandbox enforces them.
 */
import type { PurgeLimits } from "../purger.js";

export const FASTLY_LIMITS = { batch: 256, perSecond: 10 } as const satisfies PurgeLimits;
