/** The short way of frequent requests: answers that come later, or that the client does not read at once. */
import { once } from "node:events";
import { createServer, get, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { ConcurrencyLimit } from "../../../connectors/http/admission.js";
import { FastEntry } from "../../../connectors/http/fast-entry.js";

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

it("holds a place until a later answer has been sent or its client has left, and counts what was sent", async () => {
  const limit = new ConcurrencyLimit(2, "requests");
  const counted: [status: number, elapsedMs: number][] = [];
  const waiting: ServerResponse[] = [];
  const entry = new FastEntry(
    {
      deps: { open: false, stopping: () => false },
      limit,
      metrics: { counter: () => (status, elapsedMs) => counted.push([status, elapsedMs]) },
      paths: new Set(["/later"]),
    },
    [
      {
        ...{ method: "GET", prefix: "/later", path: "/later" },
        answer: (_request, response) => waiting.push(response) > 0,
      },
    ],
  );
  const server = createServer((request, response) => {
    if (!entry.answer(request, response)) response.writeHead(501).end();
  });
  ends.push(
    () => server.close(),
    () => server.closeAllConnections(),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const ask = () => get({ host: "127.0.0.1", port, path: "/later", agent: false }).on("error", () => {});

  const [first, second] = [ask(), ask()];
  await expect.poll(() => waiting.length).toBe(2);
  expect([limit.inFlight, limit.isFull]).toEqual([2, true]);
  // The ordinary way refuses it.
  const [refused] = await once(ask(), "response");
  expect(refused.statusCode).toBe(501);
  refused.resume();

  waiting[0]?.writeHead(202).end("later");
  const [answer] = await once(first, "response");
  expect(answer.statusCode).toBe(202);
  answer.resume();
  await expect.poll(() => limit.inFlight).toBe(1);
  second.destroy();
  await expect.poll(() => limit.inFlight).toBe(0);
  expect(counted).toEqual([[202, expect.any(Number)]]);
});
