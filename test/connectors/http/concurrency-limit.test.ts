/** The places of concurrent requests: each is free again when its request has ended, however that happens. */
import { EventEmitter } from "node:events";
import type { FastifyReply, FastifyRequest } from "fastify";
import { describe, expect, it } from "vitest";
import { ConcurrencyLimit } from "../../../connectors/http/admission.js";

/** A request as the guard sees it. */
function requestOf({ hasLeft }: { hasLeft: boolean }) {
  const socket = Object.assign(new EventEmitter(), { destroyed: hasLeft });
  const raw = new EventEmitter();
  const statuses: number[] = [];
  const reply = {
    raw,
    code: (status: number) => {
      statuses.push(status);
      return reply;
    },
    headers: () => reply,
    header: () => reply,
    type: () => reply,
    send: () => reply,
  };
  const request = { routeOptions: { config: {} }, raw: { socket } };
  const enter = (limit: ConcurrencyLimit): boolean => {
    let entered = false;
    limit.guard.call({} as never, request as unknown as FastifyRequest, reply as unknown as FastifyReply, () => {
      entered = true;
    });
    return entered;
  };
  return { enter, raw, socket, statuses };
}

describe("a place of a concurrent request", () => {
  it("is free again after the answer, and after the connection has closed", () => {
    const limit = new ConcurrencyLimit(1, "requests");
    for (const end of ["raw", "socket"] as const) {
      const request = requestOf({ hasLeft: false });
      expect(request.enter(limit)).toBe(true);
      expect(requestOf({ hasLeft: false }).enter(limit)).toBe(false);
      request[end].emit("close");
      expect(limit.inFlight).toBe(0);
    }
  });

  it("is not taken by a client that left while an earlier hook waited: it would never be free again", () => {
    const limit = new ConcurrencyLimit(1, "requests");
    const gone = requestOf({ hasLeft: true });
    expect(gone.enter(limit)).toBe(false);
    expect(gone.statuses).toEqual([408]);
    expect(limit.inFlight).toBe(0);
  });
});
