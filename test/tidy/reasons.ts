/** The files and functions that are longer than the limits of the tidy test, each with its reason. */

import type { Reasons } from "./syntax.js";

export const REASONS: Reasons = {
  files: {
    "test/audit/audit.redis.test.ts": "one list of faults that the audit has to find, on one deployment",
    "test/connectors/demo-shop/traffic.test.ts": "one shop's day, read by several counters",
    "test/connectors/http/server.redis.test.ts": "one server and everything that every route has in common",
    "test/faults/shop.ts": "the client of the fault suite: a program of its own",
    "test/sim/faulty-redis.ts": "one class: the calls to Redis into which the simulation puts faults",
    "test/sim/ledger.redis.test.ts": "one simulation, with all that it compares",
  },
  functions: {
    "engine/stock/ledger.lua apply":
      "one loop over a batch, on local variables: calls and tables would cost each command time",
  },
};
