/**
 * What every channel does (connectors/channel.ts), as tests that a channel's own test file runs. They reach it by its
 * contract, once against its sandbox and once against an outside system that fails in every way. What only one channel
 * has (signatures, codes, forms of a message) is tested beside it.
 */
import type { ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ChannelOutcome, OpenChannel, OutgoingMessage } from "../../connectors/channel.js";
import type { Alert } from "../../engine/alerting/alert.js";
import type { Message } from "../../engine/alerting/notification.js";
import type { PersonLanguage } from "../../engine/alerting/people.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { OutsideSystem } from "./outside-system.js";

/** One outside system that works, for one test. */
export interface ChannelBed {
  /** Where the sandbox answers: `http://127.0.0.1:1234`. */
  readonly origin: string;
  /** The address that messages are sent to. */
  readonly to: string;
  /** Opens the channel with its outside system at an origin, the sandbox's or another one. */
  open(origin: string, timeoutMs?: number): Promise<OpenChannel>;
  /** What a person would see, as texts, the oldest first. */
  displayed(): readonly string[];
  /** Closes the sandbox; the channels are closed by the suite. */
  close(): Promise<unknown>;
}

export interface ChannelFeatures {
  /** The receiving system recognises a repeat. */
  readonly recognisesRepeats: boolean;
  /** The answer's body decides: one that cannot be read does not accept. Otherwise the status alone does. */
  readonly readsAnswers: boolean;
  /** Texts that no reason may contain. */
  readonly secrets: readonly string[];
  /** Each alert is displayed by itself, also of a summary: the texts name no number of alerts. */
  readonly showsEachAlert?: boolean;
}

const HOSTILE = [
  "[click](https://evil.example)<at id=all></at>",
  "@all <@everyone> @所有人",
  "\u202E txt.exe \u0000\u001b[31m",
  '"}],"msgtype":"text"',
  "咖啡豆☕️".repeat(40),
];

const FIRED_MS = 1_781_000_000_000;

/** An alert of the depletion of a SKU. */
export const alertOf = (sku: string, more: Partial<Alert> = {}): Alert => ({
  id: `${sku}#1`,
  rule: "depletion",
  subject: sku,
  severity: "warning",
  state: "fired",
  firedMs: FIRED_MS,
  figures: { hourUnits: 42, dailyAverage: 12, thresholdUnits: 3 },
  outlook: { sellableUnits: 7, safetyUnits: 5, inboundUnits: 0, minutesLeft: 10, suggestedUnits: 39 },
  category: "coffee",
  locations: ["main", "east"],
  ...more,
});

/** A message about so many alerts. */
export function messageOf(total: number, more: Partial<Message> = {}): Message {
  const alerts = Array.from({ length: Math.min(20, total) }, (_, i) => alertOf(`SKU-${i + 1}`));
  return { id: "person:li.wei/7", type: total === 1 ? "alert" : "summary", alerts, total, language: "zh", ...more };
}

/** A message on its way. */
export const outgoingOf = (to: string, message: Message): OutgoingMessage => ({
  ...{ message, to, url: "https://stock.example/phone", ttlMs: 600_000 },
  urgency: message.alerts.some(({ severity }) => severity === "critical") ? "high" : "normal",
});

type Retry = Extract<ChannelOutcome, { outcome: "retry" }>;

export function describeChannel(name: string, features: ChannelFeatures, openBed: () => Promise<ChannelBed>): void {
  const { recognisesRepeats, readsAnswers, secrets, showsEachAlert = false } = features;

  describe(`${name}, as a channel,`, () => {
    let bed: ChannelBed;
    let running: AbortController;
    const opened: { close?(): unknown }[] = [];
    const systems: OutsideSystem[] = [];
    beforeEach(async () => {
      bed = await openBed();
      running = new AbortController();
    });
    afterEach(async () => {
      running.abort();
      for (const each of opened.splice(0)) await each.close?.();
      for (const each of systems.splice(0)) await each.stop();
      await bed.close();
    });

    const openAt = async (origin: string, timeoutMs?: number): Promise<OpenChannel> => {
      const channel = await bed.open(origin, timeoutMs);
      opened.push(channel);
      return channel;
    };
    const system = async (answer: (reply: ServerResponse) => void): Promise<OutsideSystem> => {
      const started = await OutsideSystem.start(answer);
      systems.push(started);
      return started;
    };
    const send = async (channel: OpenChannel, message = messageOf(1), signal = running.signal) => {
      const outcome = await channel.send(outgoingOf(bed.to, message), signal);
      if (outcome.outcome !== "accepted") expectUseful(outcome.reason);
      return outcome;
    };
    /** A reason is for an operator, and has no credential. */
    const expectUseful = (reason: string) => {
      expect(reason.length).toBeGreaterThan(3);
      for (const secret of secrets) expect(reason).not.toContain(secret);
    };
    const sendTo = async (answer: (reply: ServerResponse) => void, timeoutMs?: number) => {
      const outside = await system(answer);
      return send(await openAt(outside.origin, timeoutMs));
    };

    it("is accepted, and a person sees the message once", async () => {
      expect(await send(await openAt(bed.origin))).toMatchObject({ outcome: "accepted" });
      expect(bed.displayed()).toHaveLength(1);
      expect(bed.displayed()[0]).toContain("SKU-1");
    });

    it.each<PersonLanguage>(["zh", "en"])(
      "sends 1, 20 and 500 alerts within the limits of a message, in %s",
      async (language) => {
        const channel = await openAt(bed.origin);
        for (const total of [1, 20, 500]) {
          const message = messageOf(total, { language, id: `person:li.wei/${total}` });
          expect(await send(channel, message)).toMatchObject({ outcome: "accepted" });
          if (!showsEachAlert) expect(bed.displayed().at(-1)).toContain(total === 1 ? "SKU-1" : String(total));
        }
      },
    );

    it("sends acknowledgements, ends, repeats and tests", async () => {
      const channel = await openAt(bed.origin);
      const acknowledged = {
        state: "acknowledged",
        acknowledgedMs: FIRED_MS + 1,
        acknowledgedBy: "li.wei/iPhone",
      } as const;
      const messages: Message[] = [
        messageOf(1, { id: "person:a/1", type: "change", alerts: [alertOf("SKU-1", acknowledged)] }),
        messageOf(1, {
          id: "person:a/2",
          type: "change",
          alerts: [alertOf("SKU-1", { state: "cleared", clearedMs: FIRED_MS + 60_000 })],
        }),
        messageOf(1, { id: "person:a/3", type: "repeat" }),
        messageOf(0, { id: "person:a/4", type: "test", alerts: [] }),
      ];
      for (const message of messages) expect(await send(channel, message)).toMatchObject({ outcome: "accepted" });
    });

    it("sends hostile names within the limits, and none of them as markup", async () => {
      const channel = await openAt(bed.origin);
      for (const [index, subject] of HOSTILE.entries()) {
        const message = messageOf(1, { id: `person:a/${index}`, alerts: [alertOf(subject, { category: subject })] });
        expect(await send(channel, message)).toMatchObject({ outcome: "accepted" });
      }
      const alerts = HOSTILE.map((subject) => alertOf(subject));
      expect(await send(channel, messageOf(5, { id: "person:a/9", alerts }))).toMatchObject({ outcome: "accepted" });
    });

    it.runIf(recognisesRepeats)("is accepted again under the same id, and a person sees it once", async () => {
      const first = await openAt(bed.origin);
      expect(await send(first)).toMatchObject({ outcome: "accepted" });
      // After a crash nothing is known of the first try.
      const second = await openAt(bed.origin);
      expect(await send(second)).toMatchObject({ outcome: "accepted" });
      expect(bed.displayed()).toHaveLength(1);
    });

    it("reports an outside system that is not there: the message cannot have arrived", async () => {
      const gone = await system(() => {});
      const { origin } = gone;
      await gone.stop();
      const outcome = (await send(await openAt(origin))) as Retry;
      expect(outcome.outcome).toBe("retry");
      expect(outcome.mayHaveArrived ?? false).toBe(false);
    });

    it("reports a failure on the way: the message may have arrived", async () => {
      for (const status of [500, 502, 504]) {
        const outcome = await sendTo((reply) => reply.writeHead(status).end("<html>bad gateway</html>"));
        expect(outcome).toMatchObject({ outcome: "retry", mayHaveArrived: true });
      }
    });

    it("reports a connection that ends without an answer: the message may have arrived", async () => {
      const outcome = await sendTo((reply) => reply.destroy());
      expect(outcome).toMatchObject({ outcome: "retry", mayHaveArrived: true });
    });

    it("waits for an answer no longer than its time limit", async () => {
      const outcome = await sendTo(() => {}, 100);
      expect(outcome).toMatchObject({ outcome: "retry", mayHaveArrived: true });
    });

    it("ends without an answer when it is not needed any more", async () => {
      const silent = await system(() => {});
      const channel = await openAt(silent.origin);
      const waiting = send(channel);
      await expect.poll(() => silent.requests, { interval: 5 }).toBeGreaterThan(0);
      running.abort();
      expect(await waiting).toMatchObject({ outcome: "retry" });
    });

    it("reports a system that asks for fewer requests, with the pause that it asks for", async () => {
      const outcome = await sendTo((reply) => reply.writeHead(429, { "retry-after": "7" }).end());
      expect(outcome).toMatchObject({ outcome: "retry", throttled: true, retryAfterMs: 7_000 });
    });

    it("does not follow a redirect", async () => {
      const other = await system((reply) => reply.end("{}"));
      const outcome = await sendTo((reply) => reply.writeHead(307, { location: other.origin }).end());
      expect(outcome.outcome).not.toBe("accepted");
      expect(other.requests).toBe(0);
    });

    it("reports a refusal for good", async () => {
      const outcome = await sendTo((reply) => reply.writeHead(400).end(`no: ${secrets.join(" ")}`));
      expect(outcome.outcome).toBe("refused");
    });

    it("reads an answer up to a limit, and settles", async () => {
      const outcome = await sendTo((reply) => {
        reply.on("error", () => {});
        reply.writeHead(200, { "content-type": "application/json" });
        for (let i = 0; i < 64; i++) reply.write("x".repeat(16_384));
        reply.end();
      });
      expect(outcome.outcome).toBe(readsAnswers ? "retry" : "accepted");
    });

    it("takes an answer that it cannot read for no acceptance where the answer decides", async () => {
      for (const text of ["<html>sign in</html>", "[]", "null", '"ok"', "{", ""]) {
        const outcome = await sendTo((reply) => reply.writeHead(200).end(text));
        if (readsAnswers) expect([text, outcome.outcome]).not.toEqual([text, "accepted"]);
      }
    });

    it("sends nothing for an address that it does not have, or reports it as refused", async () => {
      const channel = await openAt(bed.origin);
      const outgoing = outgoingOf("nobody-here", messageOf(1));
      const outcome = await channel.send(outgoing, running.signal);
      expect(outcome.outcome).not.toBe("accepted");
      expect(bed.displayed()).toEqual([]);
    });
  });
}

/** What channels are opened with, beside their endpoints. */
export const channelParts = (timeoutMs?: number) => ({
  clock: systemClock,
  ...(timeoutMs === undefined ? {} : { timeoutMs }),
});
