/**
 * A vendor whose requests are signed, against its sandbox: what the tests of Alibaba Cloud and Tencent Cloud share.
 * What is started and opened ends after each test.
 */
import { afterEach } from "vitest";
import type { Purger, PurgerKind } from "../../../connectors/purger.js";
import type { PurgeSandbox } from "../../../connectors/purges/sandbox.js";
import { ManualClock } from "../../../engine/kernel/clock.js";
import { targetOf } from "./bed.js";

export const NOON_MS = Date.parse("2026-06-18T04:00:00Z");
/** The next one of China. */
export const MIDNIGHT_MS = Date.parse("2026-06-18T16:00:00Z");

export const targets = (from: number, count: number) =>
  Array.from({ length: count }, (_, i) => targetOf(`茶 ${from + i}`));

export const purge = (purger: Purger, from: number, count: number) =>
  purger.purge(targets(from, count), AbortSignal.timeout(20_000));

/** @param credentials that the sandbox accepts */
export function signedVendor<Settings extends object, Sandbox extends PurgeSandbox>(
  kind: PurgerKind,
  credentials: object,
  makeSandbox: (settings: Settings) => Sandbox,
) {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  return {
    async started(settings = {} as Settings): Promise<Sandbox> {
      const sandbox = makeSandbox(settings);
      await sandbox.start();
      closing.push(() => sandbox.stop());
      return sandbox;
    },
    async opened({ url }: { url: string }, clock = new ManualClock(NOON_MS), more: object = {}): Promise<Purger> {
      const purger = await kind.open({ connection: { url, ...credentials, ...more }, clock });
      closing.push(() => purger.close?.());
      return purger;
    },
  };
}
