/**
 * Two real Alertmanagers that gossip with each other, as people run them: an alert is in both once, however often it is
 * sent, and ends in both; one of them that is down does not hold up the other. What needs prometheus-alertmanager is
 * skipped without it.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { alertmanagerKind } from "../../../connectors/alertmanager/kind.js";
import type { OpenChannel } from "../../../connectors/channel.js";
import type { Alert } from "../../../engine/alerting/alert.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import { alertOf, messageOf, outgoingOf } from "../../conformance/channel.js";

const PROGRAM = "prometheus-alertmanager";
const isInstalled = (() => {
  try {
    execFileSync(PROGRAM, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

interface Listed {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly status: { readonly state: string };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

describe.runIf(isInstalled)("a pair of Alertmanagers", () => {
  let folder: string;
  let channel: OpenChannel;
  const members: { readonly url: string; readonly process: ChildProcess }[] = [];
  const signal = new AbortController().signal;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "shuiwei-alertmanagers-"));
    const config = join(folder, "alertmanager.yml");
    await writeFile(config, JSON.stringify({ route: { receiver: "none" }, receivers: [{ name: "none" }] }));
    const ports = await Promise.all(Array.from({ length: 4 }, freePort));
    const [first, second, firstGossip, secondGossip] = ports as [number, number, number, number];
    for (const [port, gossip, peer] of [
      [first, firstGossip, secondGossip],
      [second, secondGossip, firstGossip],
    ]) {
      const args = [
        ...[`--config.file=${config}`, `--storage.path=${join(folder, String(port))}`],
        ...[`--web.listen-address=127.0.0.1:${port}`, `--cluster.listen-address=127.0.0.1:${gossip}`],
        ...[`--cluster.peer=127.0.0.1:${peer}`, "--log.level=error"],
      ];
      members.push({ url: `http://127.0.0.1:${port}`, process: spawn(PROGRAM, args, { stdio: "ignore" }) });
    }
    for (const { url } of members) {
      const peers = async () => {
        const answer = (await (await fetch(`${url}/api/v2/status`)).json()) as { cluster: { peers: unknown[] } };
        expect(answer.cluster.peers).toHaveLength(2);
      };
      await vi.waitFor(peers, { timeout: 30_000, interval: 100 });
    }
    const endpoints = members.map(({ url }, n) => ({ name: `member-${n}`, settings: { url } }));
    channel = await alertmanagerKind.open({ endpoints, clock: systemClock });
  }, 60_000);

  afterAll(async () => {
    await channel?.close?.();
    for (const { process } of members) {
      if (process.exitCode !== null || process.signalCode !== null) continue;
      process.kill("SIGKILL");
      await once(process, "exit");
    }
    await rm(folder, { recursive: true, force: true });
  });

  const send = (to: string, alerts: readonly Alert[], type: "alert" | "change" | "repeat" = "alert") =>
    channel.send(outgoingOf(to, messageOf(alerts.length, { type, alerts })), signal);
  const openIn = async (url: string): Promise<Listed[]> =>
    (await (await fetch(`${url}/api/v2/alerts?filter=rule%3D%22depletion%22`)).json()) as Listed[];
  const openSubjects = async (url: string) => (await openIn(url)).map(({ labels }) => labels["subject"]).sort();

  it("has an alert once in each, however often it is sent, and ends it in both", async () => {
    const nowMs = systemClock.now();
    const alert = alertOf('SKU "咖啡"\n{x="y"}', { firedMs: nowMs - 5_000 });
    for (let times = 0; times < 3; times++)
      for (const [n] of members.entries())
        expect(await send(`member-${n}`, [alert], times === 0 ? "alert" : "repeat")).toEqual({ outcome: "accepted" });
    for (const { url } of members) {
      const listed = await openIn(url);
      expect(listed).toHaveLength(1);
      expect(listed[0]?.labels).toEqual({
        ...{ alertname: "ShuiweiDepletion", rule: "depletion", subject: alert.subject, severity: "warning" },
        ...{ deployment: "shuiwei", category: "coffee" },
      });
      expect(listed[0]?.annotations["alert_id"]).toBe(alert.id);
    }
    const cleared = { ...alert, state: "cleared", clearedMs: nowMs - 1 } as const;
    for (const [n] of members.entries())
      expect(await send(`member-${n}`, [cleared], "change")).toMatchObject({ outcome: "accepted" });
    for (const { url } of members) expect(await openSubjects(url)).toEqual([]);
  });

  it("begins a second alert of the same subject after the first has ended", async () => {
    const nowMs = systemClock.now();
    const first = alertOf("SKU-1", { firedMs: nowMs - 9_000, clearedMs: nowMs - 5_000, state: "cleared" });
    const second = alertOf("SKU-1", { id: "SKU-1#2", firedMs: nowMs - 1_000 });
    for (const alert of [first, second]) expect(await send("member-0", [alert])).toMatchObject({ outcome: "accepted" });
    const [listed, ...more] = await openIn(members[0]?.url as string);
    expect([listed?.annotations["alert_id"], more.length]).toEqual(["SKU-1#2", 0]);
  });

  it("takes 20 alerts with one request, and hostile names as they are", async () => {
    const firedMs = systemClock.now() - 1_000;
    const subjects = ["", "\u0000", "a\u202Eb", "x".repeat(4_000)].map((odd, i) => `${odd}S${i}`);
    const alerts = [...subjects, ...Array.from({ length: 16 }, (_, i) => `T${i}`)].map((sku) =>
      alertOf(sku, { firedMs }),
    );
    expect(await send("member-1", alerts)).toEqual({ outcome: "accepted" });
    expect(await openSubjects(members[1]?.url as string)).toEqual(alerts.map(({ subject }) => subject).sort());
  });

  it("does not hold up the other when one is down", async () => {
    const [, down] = members;
    down?.process.kill("SIGKILL");
    if (down) await once(down.process, "exit");
    const alert = alertOf("SKU-9", { firedMs: systemClock.now() - 1_000 });
    expect(await send("member-1", [alert])).toMatchObject({ outcome: "retry", mayHaveArrived: false });
    expect(await send("member-0", [alert])).toEqual({ outcome: "accepted" });
    expect(await openSubjects(members[0]?.url as string)).toContain("SKU-9");
  });
});
