/**
 * What every CDN whose copies are purged does (connectors/purger.ts), as tests that a vendor's bed runs: once against
 * its sandbox, which verifies as the vendor does, once against a system that fails in every way, and once in a rush in
 * virtual time, with the limits in Redis that all workers share. What only one vendor has (signatures, codes) is tested
 * beside it.
 */
import type { ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hideSecrets } from "../../connectors/channels/hide-secrets.js";
import type { PurgeOutcome, Purger, PurgerKind } from "../../connectors/purger.js";
import type { PurgeResult } from "../../connectors/purges/dispatcher.js";
import { loadPurgesLibrary, SharedPurgeLimits } from "../../connectors/purges/limits.js";
import type { PurgeSandbox } from "../../connectors/purges/sandbox.js";
import { type Clock, systemClock } from "../../engine/kernel/clock.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { DispatcherBed, START_MS, targetOf } from "../connectors/purges/bed.js";
import { VirtualTimer } from "../connectors/purges/virtual-timer.js";
import { OutsideSystem } from "./outside-system.js";

export interface PurgerFeatures {
  readonly kind: PurgerKind;
  /** What the vendor finds its copies by. */
  readonly by: "tag" | "url";
  /** Texts that no reason may contain. */
  readonly secrets: readonly string[];
  /** A sandbox that is not started yet. */
  sandbox(clock: Clock): PurgeSandbox;
  /** Of the configuration file, with the texts of secrets. */
  connection(origin: string): unknown;
  /** The same with credentials that the vendor does not accept. */
  wrongConnection(origin: string): unknown;
}

/** SKUs that sell out in the rush, and how long it lasts. */
const RUSH_SKUS = 5_000;
const RUSH_MS = 60_000;
const STEP_MS = 20;
const WORKERS = 2;

const targetsOf = (skus: number) => Array.from({ length: skus }, (_, i) => targetOf(`SKU-${i}`));

export function describePurger(name: string, features: PurgerFeatures, redis: () => RedisClient): void {
  const { kind, by, secrets } = features;

  describe(`${name}, as a CDN whose copies are purged,`, () => {
    let sandbox: PurgeSandbox;
    let running: AbortController;
    const opened: Purger[] = [];
    const systems: OutsideSystem[] = [];
    beforeEach(async () => {
      sandbox = features.sandbox(systemClock);
      await sandbox.start();
      running = new AbortController();
    });
    afterEach(async () => {
      running.abort();
      for (const each of opened.splice(0)) await each.close?.();
      for (const each of systems.splice(0)) await each.stop();
      await sandbox.stop();
    });

    const openAt = async (connection: unknown, clock: Clock = systemClock, timeoutMs?: number): Promise<Purger> => {
      const purger = await kind.open({ connection, clock, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
      opened.push(purger);
      return purger;
    };
    const purge = async (purger: Purger, skus = 1, signal = running.signal): Promise<PurgeOutcome> => {
      const outcome = await purger.purge(targetsOf(skus), signal);
      if (outcome.outcome !== "purged") expectUseful(outcome.reason);
      return outcome;
    };
    /** A reason is for an operator, and has no credential. */
    const expectUseful = (reason: string) => {
      expect(reason.length).toBeGreaterThan(3);
      for (const secret of secrets) expect(reason).not.toContain(secret);
    };
    const system = async (answer: (reply: ServerResponse) => void): Promise<OutsideSystem> => {
      const started = await OutsideSystem.start(answer);
      systems.push(started);
      return started;
    };
    const purgeAt = async (answer: (reply: ServerResponse) => void, timeoutMs?: number) => {
      const { origin } = await system(answer);
      return purge(await openAt(features.connection(origin), systemClock, timeoutMs));
    };
    const purgedValues = () => sandbox.purged.map(({ value }) => value);

    it("has a name for its sink, and limits that can be kept", async () => {
      expect(kind.name).toMatch(/^[a-z0-9-]{1,32}$/);
      const { batch, perSecond, perDay = batch, burst = 1 } = (await openAt(features.connection(sandbox.url))).limits;
      expect([batch >= 1, perSecond > 0, perDay >= batch, burst >= 1]).toEqual([true, true, true, true]);
    });

    it("purges one, and as many as it states, with one request each", async () => {
      const purger = await openAt(features.connection(sandbox.url));
      expect(await purge(purger)).toEqual({ outcome: "purged" });
      expect(purgedValues()).toEqual([targetOf("SKU-0")[by]]);
      // Limits of the rate are not the subject here.
      sandbox.purged.length = 0;
      const { batch, perSecond } = purger.limits;
      if (perSecond <= 1) return;
      expect(await purge(purger, batch)).toEqual({ outcome: "purged" });
      expect(purgedValues()).toEqual(targetsOf(batch).map((target) => target[by]));
      expect(sandbox.figures.requests).toBe(2);
    });

    it("purges SKUs of any characters", async () => {
      const targets = ["茶 01/é?#&=%", "a,b c", '"><x>', "x".repeat(200)].map(targetOf);
      const purger = await openAt(features.connection(sandbox.url));
      expect(await purger.purge(targets, running.signal)).toEqual({ outcome: "purged" });
      expect(purgedValues()).toEqual(targets.map((target) => target[by]));
    });

    it("is refused with wrong credentials, and the reason has none", async () => {
      const outcome = await purge(await openAt(features.wrongConnection(sandbox.url)));
      expect(outcome.outcome).toBe("refused");
      expect([sandbox.denied, sandbox.purged.length]).toEqual([1, 0]);
    });

    it("reports a vendor that is not there, one that fails, and one that ends the connection: it may pass", async () => {
      const gone = await system(() => {});
      const { origin } = gone;
      await gone.stop();
      expect((await purge(await openAt(features.connection(origin)))).outcome).toBe("retry");
      for (const status of [500, 502, 504])
        expect((await purgeAt((reply) => reply.writeHead(status).end("<html>bad gateway</html>"))).outcome).toBe(
          "retry",
        );
      expect((await purgeAt((reply) => reply.destroy())).outcome).toBe("retry");
    });

    it("waits for an answer no longer than its time limit, or until it is not needed any more", async () => {
      expect((await purgeAt(() => {}, 100)).outcome).toBe("retry");
      const silent = await system(() => {});
      const waiting = purge(await openAt(features.connection(silent.origin)));
      await expect.poll(() => silent.requests, { interval: 5 }).toBe(1);
      running.abort();
      expect((await waiting).outcome).toBe("retry");
    });

    it("reports a vendor that asks for fewer requests, with the pause that it asks for", async () => {
      const outcome = await purgeAt((reply) => reply.writeHead(429, { "retry-after": "7" }).end("{}"));
      expect(outcome).toMatchObject({ outcome: "retry", throttled: true, retryAfterMs: 7_000 });
    });

    it("does not follow a redirect, and shows no secret that an answer quotes", async () => {
      const other = await system((reply) => reply.end("{}"));
      const outcome = await purgeAt((reply) => reply.writeHead(307, { location: other.origin }).end());
      expect([outcome.outcome, other.requests]).toEqual(["refused", 0]);
      expect((await purgeAt((reply) => reply.writeHead(400).end("no"))).outcome).toBe("refused");
    });

    it("leaves the text of a refusal whole, so that a secret is recognised in it wherever it is", async () => {
      const secret = "a-secret-that-a-vendor-quotes";
      for (let before = 150; before < 320; before += 5) {
        const text = `${"x".repeat(before)}${secret}`;
        const error = { code: 1, message: text, Code: "No", Message: text };
        const body = { msg: text, errors: [error], ...error, Response: { Error: error } };
        const outcome = await purgeAt((reply) => reply.writeHead(400).end(JSON.stringify(body)));
        const reason = outcome.outcome === "purged" ? "" : hideSecrets(outcome.reason, [secret]);
        expect(reason).toMatch(/xxx/);
        expect(reason).not.toContain(secret.slice(0, 3));
      }
    });

    it("takes an answer that is not the vendor's for no purge", async () => {
      for (const text of ["<html>sign in</html>", "[]", "null", '"ok"', "{", "", "x".repeat(100_000)])
        expect([text.slice(0, 20), (await purgeAt((reply) => reply.writeHead(200).end(text))).outcome]).toEqual([
          text.slice(0, 20),
          "retry",
        ]);
    });

    it(`keeps the vendor's limits while ${RUSH_SKUS} SKUs sell out in a minute, and counts what is dropped`, async () => {
      const timer = new VirtualTimer(START_MS);
      const rushed = features.sandbox(timer);
      await rushed.start();
      const beds: DispatcherBed[] = [];
      try {
        await loadPurgesLibrary(redis());
        const shared = { redis: redis(), prefix: `purger-${name}`, name, serverClock: timer };
        for (let i = 0; i < WORKERS; i++) {
          const purger = await openAt(features.connection(rushed.url), timer);
          const limits = new SharedPurgeLimits({ ...shared, limits: purger.limits });
          const options = {
            ...{ name, repeatAfterMs: kind.repeatAfterMs, secrets },
            limits: { take: timer.counted(limits.take.bind(limits)), hold: timer.counted(limits.hold.bind(limits)) },
            purger: { limits: purger.limits, purge: timer.counted(purger.purge.bind(purger)) },
          };
          beds.push(new DispatcherBed(options, timer));
        }
        for (let sold = 0, atMs = 0; atMs < RUSH_MS; atMs += STEP_MS) {
          const until = Math.floor((RUSH_SKUS * (atMs + STEP_MS)) / RUSH_MS);
          for (; sold < until; sold++) beds[sold % WORKERS]?.add(`SKU-${sold}`);
          await timer.advance(STEP_MS, STEP_MS);
        }
        await timer.advance(15_000, STEP_MS);
        const sum = (result: PurgeResult) => beds.reduce((total, { results }) => total + results[result], 0);
        const dropped = sum("dropped_late") + sum("dropped_limit");
        const afterMs = beds.flatMap((bed) => bed.afterMs).sort((one, other) => one - other);
        const at = (share: number) => afterMs[Math.floor(afterMs.length * share)];
        console.info(
          `${name}: ${rushed.figures.requests} requests, ${sum("purged")} SKUs purged (${at(0.5)} ms p50, ${at(0.99)} ms p99 after the change), ${sum("repeated")} repeated, ${dropped} dropped`,
        );
        expect([rushed.figures.throttled, rushed.denied, sum("failed")]).toEqual([0, 0, 0]);
        // A second purge that is dropped counts, too.
        const expected = kind.repeatAfterMs === undefined ? RUSH_SKUS : RUSH_SKUS + sum("purged");
        expect(sum("purged") + sum("repeated") + dropped).toBe(expected);
        expect(rushed.purged.length).toBe(sum("purged") + sum("repeated"));
        expect(sum("purged")).toBeGreaterThan(0);
        const reported = beds.flatMap(({ dispatcher }) => dispatcher.warnings()).join();
        if (dropped > 0) expect(reported).toContain("purges were dropped lately");
        else expect(reported).toBe("");
        // What was not purged in time has no older copy any more.
        expect(Math.max(...afterMs)).toBeLessThanOrEqual(10_000 + 2 * STEP_MS);
      } finally {
        for (const bed of beds) await bed.stop();
        await rushed.stop();
      }
    });
  });
}
