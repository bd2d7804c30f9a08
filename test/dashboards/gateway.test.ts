/**
 * What the gateway sends: snapshots, deltas and heartbeats, how often they are encoded, and what a slow screen gets.
 * Real WebSocket clients on loopback; time is a manual clock and the tests tick by hand.
 */
import { describe, expect, it } from "vitest";
import type { AlertLive } from "../../dashboards/live-source.js";
import { type DeltaFrame, FrameKind, type ServerFrame, type SnapshotFrame } from "../../dashboards/protocol.js";
import { applyFrame, type LiveModel, rankedRows } from "../../dashboards/web/live-model.js";
import { MINUTE_MS } from "../../engine/kernel/clock.js";
import { MINUTE, settled, useGatewayBed } from "./gateway-bed.js";

const current = useGatewayBed();

describe("frames of a screen", () => {
  it("the first frame is a snapshot: ranked rows with balances, minutes, alerts and the engine", async () => {
    const bed = current();
    await bed.start({ zone: "Asia/Tokyo" });
    bed.source.sell("A", 5, MINUTE - 3);
    bed.source.alertList = [
      {
        id: "a1",
        sku: "A",
        state: "fired",
        firedAtMs: 1,
        clearedAtMs: undefined,
        hourUnits: 30,
        dailyAverage: undefined,
      },
    ];
    const screen = await bed.subscribed();
    const snapshot = screen.frames[0] as SnapshotFrame;
    expect(snapshot).toMatchObject({
      t: FrameKind.snapshot,
      view: "wall",
      zone: "Asia/Tokyo",
      minutes: 60,
      lastMinute: MINUTE,
    });
    expect(snapshot.engine).toMatchObject({ nowMs: bed.source.state.nowMs, scene: null, gates: [] });
    expect(snapshot.alerts).toMatchObject([{ id: "a1", clearedAtMs: null, dailyAverage: null }]);
    const model = applyFrame(undefined, snapshot).model as LiveModel;
    expect(rankedRows(model).map(({ sku, hourUnits }) => [sku, hourUnits])).toEqual([
      ["A", 35],
      ["B", 20],
      ["C", 10],
    ]);
    expect(model.cells.get(model.rowOf.get("A")?.id as number)).toEqual(
      new Map([
        [MINUTE, 30],
        [MINUTE - 3, 5],
      ]),
    );
  });

  it("a delta contains only what changed, as absolute values", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed();
    bed.source.sell("B", 7);
    bed.tickAfter(250);
    const delta = (await screen.got(2)) as DeltaFrame;
    expect(delta.t).toBe(FrameKind.delta);
    expect(delta.seq).toBe((screen.frames[0] as ServerFrame).seq + 1);
    expect(delta.rows).toEqual([[expect.any(Number), "B", 27, null, 973, 27, 0, 10, 0, 900]]);
    expect(delta.cells).toEqual([[delta.rows?.[0]?.[0], 0, 27]]);
    expect(delta).not.toHaveProperty("order");
    expect(delta).not.toHaveProperty("alerts");
  });

  it("a heartbeat is sent only when nothing has changed for a while", async () => {
    const bed = current();
    await bed.start({ heartbeatMs: 1_000 });
    const screen = await bed.subscribed();
    for (let i = 0; i < 4; i++) bed.tickAfter(250);
    await screen.got(2);
    expect(screen.frames.map(({ t }) => t)).toEqual([FrameKind.snapshot, FrameKind.heartbeat]);
  });

  it("a delta with the new minute is sent when the shop's minute changes", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed();
    bed.source.state = { ...bed.source.state, nowMs: bed.source.state.nowMs + MINUTE_MS };
    bed.tickAfter(250);
    expect(await screen.got(2)).toMatchObject({ t: FrameKind.delta, lastMinute: MINUTE + 1 });
  });

  it("a delta is sent as soon as a breaker opens", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed();
    const breaker = { scope: "shop", untilMs: 9, actor: "system", reason: "0.8%" };
    bed.source.state = { ...bed.source.state, breakers: [breaker] };
    bed.tickAfter(250);
    expect(((await screen.got(2)) as DeltaFrame).engine.gates).toEqual([breaker]);
  });

  it("rows keep their order until the next ranking, which is sent as ids", async () => {
    const bed = current();
    await bed.start({ rerankMs: 3_000 });
    const screen = await bed.subscribed();
    const ids = (screen.frames[0] as SnapshotFrame).order;
    bed.source.sell("C", 100);
    bed.tickAfter(1_000);
    expect(await screen.got(2)).not.toHaveProperty("order");
    bed.tickAfter(2_000);
    expect(((await screen.got(3)) as DeltaFrame).order).toEqual([ids[2], ids[0], ids[1]]);
  });

  it("a SKU with an open alert is shown although it is not ranked, and removed when the alert clears", async () => {
    const bed = current();
    await bed.start({ views: { wall: { rows: 1 } } });
    const alert: AlertLive = {
      id: "a1",
      sku: "C",
      state: "fired",
      firedAtMs: 1,
      clearedAtMs: undefined,
      hourUnits: 10,
      dailyAverage: 2,
    };
    bed.source.alertList = [alert];
    const screen = await bed.subscribed();
    const snapshot = screen.frames[0] as SnapshotFrame;
    expect(snapshot.order).toHaveLength(1);
    expect(snapshot.rows.map(([, sku]) => sku)).toEqual(["A", "C"]);
    bed.source.alertList = [{ ...alert, state: "cleared", clearedAtMs: 2 }];
    bed.tickAfter(250);
    const delta = (await screen.got(2)) as DeltaFrame;
    expect(delta.gone).toEqual([snapshot.rows[1]?.[0]]);
    expect(delta.alerts).toMatchObject([{ id: "a1", state: "cleared", clearedAtMs: 2 }]);
  });

  it("each view has its own numbers of rows and minutes", async () => {
    const bed = current();
    for (let i = 0; i < 80; i++) bed.source.sell(`S${i}`, 100 + i);
    await bed.start();
    const [wall, phone] = [await bed.subscribed(), await bed.subscribed({ view: "phone" })];
    expect(wall.frames[0]).toMatchObject({ view: "wall", minutes: 60 });
    expect((wall.frames[0] as SnapshotFrame).order).toHaveLength(60);
    expect(phone.frames[0]).toMatchObject({ view: "phone", minutes: 30 });
    expect((phone.frames[0] as SnapshotFrame).order).toHaveLength(20);
  });

  it("a pane newer than the shop's clock is sent and kept at its minute", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed();
    bed.source.sell("A", 4, MINUTE + 1);
    bed.tickAfter(250);
    let model: LiveModel | undefined;
    await screen.got(2);
    for (const frame of screen.frames) model = applyFrame(model, frame).model;
    expect(model?.cells.get(model.rowOf.get("A")?.id as number)?.get(MINUTE + 1)).toBe(4);
  });

  it("applying all deltas gives the same state as a new snapshot", async () => {
    const bed = current();
    await bed.start({ rerankMs: 500, heartbeatMs: 0 });
    const screen = await bed.subscribed();
    for (let step = 0; step < 40; step++) {
      bed.source.sell(`S${(step * 7) % 11}`, 1 + ((step * 13) % 29), MINUTE + Math.floor(step / 8) - 2);
      if (step % 8 === 7) bed.source.state = { ...bed.source.state, nowMs: bed.source.state.nowMs + MINUTE_MS };
      bed.tickAfter(250);
      await screen.got(step + 2);
    }
    let followed: LiveModel | undefined;
    for (const frame of screen.frames) {
      const { model, gap } = applyFrame(followed, frame);
      expect(gap).toBe(false);
      followed = model;
    }
    const fresh = await bed.subscribed();
    const { revision: _, ...wanted } = applyFrame(undefined, fresh.frames[0] as ServerFrame).model as LiveModel;
    expect(followed).toMatchObject(wanted);
  });
});

describe("the cost of many screens", () => {
  it("a frame is encoded once per view and tick, and all its clients get the same bytes", async () => {
    const bed = current();
    await bed.start();
    const walls = [await bed.subscribed(), await bed.subscribed(), await bed.subscribed()];
    const phone = await bed.subscribed({ view: "phone" });
    expect(bed.gateway.clients).toBe(4);
    const before = bed.gateway.counters.framesEncoded;
    bed.source.sell("A", 1);
    bed.tickAfter(250);
    await Promise.all([...walls, phone].map((screen) => screen.got(2)));
    expect(bed.gateway.counters.framesEncoded - before).toBe(2);
    for (const wall of walls) expect(wall.bytes[1]).toEqual(walls[0]?.bytes[1]);
  });

  it("the snapshots of one tick are encoded once", async () => {
    const bed = current();
    await bed.start();
    await bed.subscribed();
    await bed.subscribed();
    expect(bed.gateway.counters).toMatchObject({ framesEncoded: 1, snapshotsSent: 2 });
  });

  it("a view without clients is not read", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.connect().open();
    bed.tickAfter(250);
    expect(bed.source.reads).toBe(0);
    screen.send({ t: "subscribe", view: "wall" });
    await screen.got(1);
    expect(bed.source.reads).toBe(1);
  });

  it("the first client after a time without clients gets the present state", async () => {
    const bed = current();
    await bed.start();
    const first = await bed.subscribed();
    first.end();
    await settled(() => bed.gateway.clients === 0);
    bed.source.sell("A", 500);
    bed.tickAfter(60_000);
    const second = await bed.subscribed();
    expect((second.frames[0] as SnapshotFrame).rows[0]?.slice(1, 3)).toEqual(["A", 530]);
  });
});

describe("a screen that falls behind", () => {
  it("is skipped after a few unacknowledged frames and gets one fresh snapshot when it has caught up", async () => {
    const bed = current();
    await bed.start({ maxUnackedFrames: 3 });
    const slow = await bed.subscribed({ acking: false });
    const fast = await bed.subscribed();
    for (let i = 0; i < 10; i++) {
      bed.source.sell("A", 1);
      bed.tickAfter(250);
      await fast.got(i + 2);
    }
    await slow.got(3); // the snapshot and two deltas
    expect(bed.gateway.counters.framesSkipped).toBe(8);
    slow.send({ t: "ack", seq: slow.last.seq });
    const fresh = (await slow.got(4)) as SnapshotFrame;
    expect(fresh.t).toBe(FrameKind.snapshot);
    expect(fresh.seq).toBe(fast.last.seq);
    expect(fresh.rows[0]?.slice(1, 3)).toEqual(["A", 40]);

    slow.send({ t: "ack", seq: fresh.seq });
    bed.source.sell("A", 1);
    bed.tickAfter(250);
    expect(await slow.got(5)).toMatchObject({ t: FrameKind.delta, seq: fresh.seq + 1 });
    expect(slow.frames).toHaveLength(5);
  });

  it("is closed when it acknowledges nothing at all", async () => {
    const bed = current();
    await bed.start({ ackTimeoutMs: 30_000 });
    const silent = await bed.subscribed({ acking: false });
    bed.tickAfter(29_000);
    expect(bed.gateway.clients).toBe(1);
    bed.tickAfter(1_000);
    expect(await silent.ended()).toEqual({ code: 1008, reason: "no ack" });
  });

  it("gets a snapshot on request after a gap, at most once a tick", async () => {
    const bed = current();
    await bed.start();
    const screen = await bed.subscribed();
    bed.source.sell("A", 1);
    bed.tickAfter(250);
    await screen.got(2);
    screen.send({ t: "resync" });
    expect((await screen.got(3)).t).toBe(FrameKind.snapshot);
    for (let i = 0; i < 5; i++) screen.send({ t: "resync" });
    await settled(() => bed.gateway.counters.resyncs === 6);
    expect(bed.gateway.counters.snapshotsSent).toBe(2);
    bed.source.sell("A", 1);
    bed.tickAfter(250);
    expect((await screen.got(4)).t).toBe(FrameKind.snapshot);
    expect(screen.frames).toHaveLength(4);
  });

  it("is disconnected when it answers no ping", async () => {
    const bed = current();
    await bed.start({ pingMs: 15_000 });
    const dead = await bed.subscribed();
    dead.pause(); // the peer's process hangs: its socket is open but not read
    bed.tickAfter(15_000);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(bed.gateway.clients).toBe(1);
    bed.tickAfter(15_000);
    expect(bed.gateway.clients).toBe(0);
    expect(bed.gateway.counters.clientsExpelled).toBe(1);
  });
});
