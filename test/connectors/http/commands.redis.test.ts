/**
 * Bulk commands in both formats: outcomes in order, every fault named with its line, and nothing applied when there
 * is one.
 */
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../../engine/kernel/clock.js";
import { OrderService } from "../../../engine/orders/order-service.js";
import { OrderStore } from "../../../engine/orders/order-store.js";
import { Ledger } from "../../../engine/stock/ledger.js";
import { freshId, httpBed } from "./http-bed.js";

const bed = httpBed();
const packr = new Packr({ useRecords: false });

type Command = Record<string, unknown>;
const receive = (sku: string, units: unknown = 5, more: Command = {}): Command => ({
  kind: "receive",
  id: freshId(),
  sku,
  units,
  ...more,
});
const ndjson = (commands: readonly unknown[]) =>
  bed.send("POST", "/v1/commands", {
    body: `${commands.map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join("\n")}\n`,
    headers: { "content-type": "application/x-ndjson" },
  });
const msgpack = (body: unknown, type = "application/msgpack") =>
  bed.send("POST", "/v1/commands", {
    body: body instanceof Uint8Array ? body : packr.pack(body),
    headers: { "content-type": type },
  });
const cell = async (sku: string, location = "main") => (await bed.ledger.balances(sku))?.get(location);

describe("bulk commands", () => {
  it("are applied in order and answered in order, as NDJSON", async () => {
    const order = freshId();
    const at = { sku: "N1", units: 2 };
    const commands = [
      receive("N1", 10),
      { kind: "reserve", id: `${order}-1`, ...at, holdMs: 60_000 },
      { kind: "pay", id: `${order}-1`, ...at },
      { kind: "outbound", id: `${order}-1`, ...at },
      { kind: "reserve", id: `${freshId()}-1`, sku: "N1", units: 100 },
      {
        kind: "move",
        id: freshId(),
        sku: "N1",
        units: 3,
        from: "sellable",
        to: "safety",
        actor: "li.wei",
        reason: "reserve",
      },
      {
        kind: "move",
        id: freshId(),
        sku: "N1",
        units: 1,
        from: "sellable",
        to: "sellable",
        toLocation: "east",
        actor: "li.wei",
        reason: "near",
      },
      { kind: "correct", id: freshId(), sku: "N1", units: -1, actor: "li.wei", reason: "broken" },
      { kind: "return", id: freshId(), sku: "N1", units: 1, atMs: systemClock.now() - 5_000 },
      { kind: "configure", id: freshId(), sku: "N1", settings: { displayCoefficient: 0.5 } },
      { kind: "acknowledge", id: freshId(), sku: "N1", actor: "li.wei", alertId: "N1#1" },
    ];
    const answer = await ndjson(commands);
    expect(answer.status).toBe(200);
    expect(answer.headers["content-type"]).toMatch(/^application\/x-ndjson/);
    const lines = answer.text
      .trimEnd()
      .split("\n")
      .map((text) => JSON.parse(text));
    expect(lines.map(({ id }) => id)).toEqual(commands.map(({ id }) => id));
    expect(lines.map(({ outcome }) => outcome)).toEqual(
      commands.map((_, i) => (i === 4 ? "insufficient_sellable" : "accepted")),
    );
    expect(lines[3]).toEqual({ id: `${order}-1`, outcome: "accepted", repeated: false, state: "outbound" });
    expect(await cell("N1")).toMatchObject({ sellable: 4, reserved: 0, committed: 0, safety: 3 });
    expect(await cell("N1", "east")).toMatchObject({ sellable: 1 });
    const again = await ndjson(commands);
    expect(
      again.text
        .trimEnd()
        .split("\n")
        .every((text) => JSON.parse(text).repeated),
    ).toBe(true);
    expect(await cell("N1")).toMatchObject({ sellable: 4 });
  });

  it("apply a correction only while the cell holds what is expected", async () => {
    const correct = (onHandUnits: number) => ({
      ...{ kind: "correct", id: freshId(), sku: "E1", units: 2, actor: "li.wei", reason: "counted" },
      expected: { onHandUnits },
    });
    const answer = await ndjson([correct(1), correct(0), correct(0)]);
    const lines = answer.text.trimEnd().split("\n");
    const outcomes = lines.map((text) => JSON.parse(text).outcome);
    expect(outcomes).toEqual(["balance_changed", "accepted", "balance_changed"]);
    expect(await cell("E1")).toMatchObject({ sellable: 2 });
  });

  it.each(["ndjson", "msgpack"] as const)(
    "move no line of a stored order, recognised by the order's id alone (%s)",
    async (how) => {
      const sku = `O-${how}`;
      // Its lines have no mark: it was placed while the previous release still ran.
      const old = { redis: bed.redis, prefix: "t", partitions: 4, format: () => 1 };
      const orderService = new OrderService(new Ledger(old), new OrderStore({ ...old, keepSeconds: 86_400 }));
      const [order, shelf, free] = [freshId(), freshId(), freshId()];
      const at = { sku, location: "main", units: 1 };
      await bed.receive(sku, 9);
      expect((await orderService.place({ id: order, lines: [at, at, at] })).outcome).toBe("accepted");
      const commands = [
        { kind: "pay", id: `${order}-1`, ...at },
        { kind: "receive", id: `${shelf}-1`, ...at },
        { kind: "cancel", id: `${order}-2`, ...at },
        { kind: "reserve", id: `${free}-1`, ...at },
        { kind: "outbound", id: `${order}-3`, ...at },
        { kind: "pay", id: `${free}-1`, ...at },
        { kind: "reserve", id: `${order}-4`, ...at },
        { kind: "reserve", id: free, ...at },
      ];
      const send = async () => {
        if (how === "msgpack") return packr.unpack((await msgpack(commands)).bytes);
        const { text } = await ndjson(commands);
        return text
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line));
      };
      const answers = await send();
      expect(answers.map(({ id }: { id: string }) => id)).toEqual(commands.map(({ id }) => id));
      expect(answers.map(({ outcome, state }: Record<string, string>) => `${outcome} ${state}`)).toEqual([
        "order_line held",
        "accepted none",
        "order_line held",
        "accepted held",
        "order_line held",
        "accepted paid",
        "order_line none",
        "accepted held",
      ]);
      expect(await cell(sku)).toMatchObject({ sellable: 5, reserved: 4, committed: 1 });
      expect((await send()).filter((answer: Command) => answer["outcome"] === "order_line")).toHaveLength(4);
      expect((await bed.send("POST", `/v1/orders/${order}/payment`)).json).toMatchObject({ outcome: "accepted" });
      expect(await cell(sku)).toMatchObject({ sellable: 5, reserved: 1, committed: 4 });
    },
  );

  it.each(["application/msgpack", "application/x-msgpack"])("are taken and answered as %s", async (type) => {
    const commands = [receive(`M-${type}`, 7), receive(`M-${type}`, 2 ** 40)];
    const answer = await msgpack(commands, type);
    expect(answer.status).toBe(200);
    expect(answer.headers["content-type"]).toBe(type);
    expect(packr.unpack(answer.bytes)).toEqual(
      commands.map(({ id }) => ({ id, outcome: "accepted", repeated: false, state: "none" })),
    );
    expect(await cell(`M-${type}`)).toMatchObject({ sellable: 2 ** 40 + 7 });
  });

  it("apply none when one of them is at fault, and name its line", async () => {
    const answer = await ndjson([receive("H1"), receive("H2"), receive("H3", 1.5), receive("H4")]);
    expect(answer.json).toMatchObject({
      status: 400,
      code: "bad_input",
      detail: "line 3: units must be a whole number",
      errors: [{ field: "line 3: units", message: "must be a whole number" }],
    });
    const packed = await msgpack([receive("H1"), receive("H2"), receive("H3", "3")]);
    expect(packed.json.errors).toEqual([{ field: "command 3: units", message: "must be a whole number" }]);
    for (const sku of ["H1", "H2", "H3", "H4"]) expect(await bed.ledger.balances(sku)).toBeUndefined();
  });

  it("list at most 20 faults", async () => {
    const answer = await ndjson(new Array(100).fill({ kind: "receive" }));
    expect(answer.status).toBe(400);
    expect(answer.json.errors).toHaveLength(20);
  });

  it.each<[string, Command, string, string]>([
    ["an unknown kind", { kind: "give" }, "kind", "must be one of receive"],
    ["a missing kind", {}, "kind", "is missing"],
    ["an abort, which only the order service sends", { kind: "abort", units: 1, attempt: 1 }, "kind", "must be one of"],
    [
      "an attempt, which only the order service sends",
      { kind: "reserve", units: 1, attempt: 9 },
      "attempt",
      "is not a known field",
    ],
    ["a correction without an actor", { kind: "correct", units: -1, reason: "lost" }, "actor", "is missing"],
    ["a correction without a reason", { kind: "correct", units: -1, actor: "li.wei" }, "reason", "is missing"],
    ["a correction of nothing", { kind: "correct", units: 0, actor: "li.wei", reason: "?" }, "units", "must not be 0"],
    [
      "a correction of units held for orders",
      { kind: "correct", units: 1, pool: "reserved", actor: "a", reason: "b" },
      "pool",
      "must be one of",
    ],
    [
      "a move without an actor",
      { kind: "move", units: 1, from: "sellable", to: "safety", reason: "r" },
      "actor",
      "is missing",
    ],
    [
      "a move to where it is",
      { kind: "move", units: 1, from: "safety", to: "safety", actor: "a", reason: "r" },
      "to",
      "must differ",
    ],
    [
      "a move to its own location",
      { kind: "move", units: 1, from: "sellable", to: "sellable", toLocation: "main", actor: "a", reason: "r" },
      "toLocation",
      "must differ",
    ],
    [
      "a move of safety stock elsewhere",
      { kind: "move", units: 1, from: "safety", to: "sellable", toLocation: "east", actor: "a", reason: "r" },
      "toLocation",
      "is allowed only",
    ],
    [
      "a time in the future",
      { kind: "receive", units: 1, atMs: systemClock.now() + 3_600_000 },
      "atMs",
      "is in the future",
    ],
    ["a time in seconds", { kind: "receive", units: 1, atMs: 1_750_000_000 }, "atMs", "must be at least"],
    ["a reason with a line break", { kind: "receive", units: 1, reason: "a\nby b" }, "reason", "must be a reason"],
    ["settings without one", { kind: "configure", settings: {} }, "settings", "must set at least one option"],
    [
      "a coefficient above 1",
      { kind: "configure", settings: { displayCoefficient: 1.1 } },
      "settings.displayCoefficient",
      "must be at most 1",
    ],
  ])("refuse %s", async (_what, part, field, message) => {
    const answer = await ndjson([{ id: freshId(), sku: "R", ...part }]);
    expect(answer.status).toBe(400);
    expect(answer.json.errors).toContainEqual({ field: `line 1: ${field}`, message: expect.stringContaining(message) });
  });

  it("count empty lines but skip them, and accept CRLF", async () => {
    const body = `${JSON.stringify(receive("CR"))}\r\n\r\n  \n{"kind":"receive"}\r\n`;
    const answer = await bed.send("POST", "/v1/commands", {
      body,
      headers: { "content-type": "application/x-ndjson; charset=utf-8" },
    });
    expect(answer.json.errors[0].field).toBe("line 4: id");
  });

  it("refuse lines that are no JSON, no UTF-8, no object, inexact, too long, or missing altogether", async () => {
    const good = JSON.stringify(receive("Z"));
    const cases: [Buffer | string, string][] = [
      [`${good}\n{"kind":`, "line 2 ends too early, at position 8"],
      [Buffer.concat([Buffer.from(`${good}\n"`), Buffer.from([0xff, 0x22])]), "line 2 is not valid UTF-8"],
      [`${good}\n[]`, "line 2 must be an object"],
      [`${good}\n{"kind":"receive","units":9007199254740993}`, "line 2: units cannot be represented exactly"],
      [`${good}\n"${"x".repeat(17_000)}"`, "line 2 is longer than 16384 bytes"],
      ["\n\n", "the body has no command"],
      ["", "the body has no command"],
    ];
    for (const [body, detail] of cases) {
      const answer = await bed.send("POST", "/v1/commands", {
        body,
        headers: { "content-type": "application/x-ndjson" },
      });
      expect(answer.status).toBe(400);
      expect(answer.json.detail).toContain(detail);
    }
    expect(await bed.ledger.balances("Z")).toBeUndefined();
  });

  it("refuse broken and truncated msgpack, binary values and extensions", async () => {
    const whole = packr.pack([receive("B"), receive("B")]);
    const bodies = [
      whole.subarray(0, whole.length - 1),
      Buffer.concat([whole, Buffer.from([0])]),
      Buffer.from([0xc1]),
      Buffer.alloc(0),
      packr.pack({ kind: "receive" }),
      packr.pack([]),
      packr.pack([receive("B"), { ...receive("B"), sku: Buffer.from("B") }]),
      packr.pack([receive("B"), { ...receive("B"), units: new Date() }]),
      packr.pack([receive("B"), receive("B", 2n ** 60n)]),
      Buffer.from([0xdd, 0x00, 0x00, 0x27, 0x10, 0x80]),
    ];
    for (const body of bodies) expect((await msgpack(body)).json).toMatchObject({ status: 400, code: "bad_input" });
    expect(await bed.ledger.balances("B")).toBeUndefined();
  });

  it("are 10,000 at most", async () => {
    const line = JSON.stringify(receive("T"));
    expect((await ndjson(new Array(10_001).fill(line))).json).toMatchObject({ status: 413, code: "too_many_commands" });
    expect((await msgpack(Buffer.from([0xdd, 0x00, 0x00, 0x27, 0x11]))).json).toMatchObject({
      status: 413,
      code: "too_many_commands",
    });
    expect(await bed.ledger.balances("T")).toBeUndefined();
    const full = await ndjson(Array.from({ length: 10_000 }, (_, i) => receive(`T${i % 50}`, 1)));
    expect(full.status).toBe(200);
    expect(full.text.trimEnd().split("\n")).toHaveLength(10_000);
    expect(await cell("T7")).toMatchObject({ sellable: 200 });
  });

  it("are not taken as JSON", async () => {
    expect((await bed.send("POST", "/v1/commands", { body: [receive("J")] })).json).toMatchObject({
      status: 415,
      code: "unsupported_media_type",
    });
    expect((await bed.send("POST", "/v1/commands")).json).toMatchObject({ status: 415 });
  });
});

it("no request caused an unexpected fault", () => {
  expect(bed.troubles).toEqual([]);
});
