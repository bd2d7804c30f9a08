/**
 * Many alerts in a short time through the real runtime: every alert reaches every address, alone or in a summary, every
 * message is accepted, and the view has what the log says. The load is bounded; the time that it takes is printed.
 */
import { beforeAll, expect, it } from "vitest";
import {
  type Address,
  DELIVERED_EVENT,
  type DeliveredEvent,
  NOTIFICATIONS_TOPIC,
  NOTIFY_EVENT,
  type SendRequest,
} from "../../../engine/alerting/notification.js";
import { notificationsJob } from "../../../engine/jobs/notifications/job.js";
import { NotificationsView } from "../../../engine/jobs/notifications/view.js";
import { sleep, systemClock } from "../../../engine/kernel/clock.js";
import { zoneOf } from "../../../engine/kernel/zone.js";
import { loadStreamLibrary } from "../../../engine/stream/commit.js";
import { EmitReader } from "../../../engine/stream/emits.js";
import type { NewEvent, TopicEvent } from "../../../engine/stream/event-entry.js";
import { eventTopic, loadEventsLibrary } from "../../../engine/stream/event-topic.js";
import { Follower } from "../../../engine/stream/follower.js";
import { partitionKeys } from "../../../engine/stream/keys.js";
import { connect, type RedisClient } from "../../../engine/stream/redis.js";
import { Worker } from "../../../engine/stream/worker.js";
import { withRedis } from "../../redis/with-redis.js";
import { alertOf, phone, recipientOf, robot, system } from "./bed.js";

const ALERTS = 500;
const PARTITIONS = 2;
const PEOPLE = ["person:li", "person:wang", "person:zhao"];
const LADDER: Address[] = [phone("a"), phone("b"), robot("c"), system("d", { perMinute: 600 }), robot("e")];

const redis = withRedis();
let client: RedisClient;

beforeAll(async () => {
  client = redis.connect();
  await Promise.all([loadStreamLibrary(client), loadEventsLibrary(client)]);
});

it("500 alerts reach five addresses of three people each", { timeout: 120_000 }, async () => {
  const zone = zoneOf("Asia/Shanghai");
  const topic = eventTopic({ name: NOTIFICATIONS_TOPIC, partitions: PARTITIONS, redis: client, prefix: "t", zone });
  const job = notificationsJob(zone);
  const troubles: string[] = [];
  const onTrouble = (message: string): unknown => troubles.push(message);
  const shared = { prefix: "t", redis: client, clock: systemClock, onTrouble };
  const worker = new Worker<TopicEvent>({
    ...{ ...shared, topic, jobs: [job], owner: "worker", leaseMs: 5_000, tickMs: 100, retentionMs: 0, withViews: true },
    openReader: () => connect({ url: redis.url }, true),
  });
  const view = new NotificationsView();
  const follower = new Follower<TopicEvent>({
    ...{ ...shared, topic: topic.name, partitions: PARTITIONS, jobs: [job], views: [view], pollMs: 20 },
  });
  worker.start();
  await follower.start();
  const startMs = systemClock.now();
  const covered = new Map<string, Map<string, number>>();
  let messages = 0;
  /** Accepts what has left, and counts the alerts in it by recipient and address. */
  const readers = Array.from({ length: PARTITIONS }, (_, partition) => ({
    reader: new EmitReader(client, partitionKeys("t", topic.name, partition), true),
    after: 0,
  }));
  const accept = async (): Promise<void> => {
    for (const each of readers) {
      const entries = await each.reader.read(each.after, 100, 0);
      const requests = entries.flatMap(({ emits }) => emits.map(({ payload }) => payload as SendRequest));
      each.after = entries.at(-1)?.commit ?? each.after;
      messages += requests.length;
      await topic.append(requests.map(acceptedEvent));
      for (const { recipient, address, message } of requests) {
        const byAddress = covered.get(recipient) ?? new Map<string, number>();
        covered.set(recipient, byAddress);
        byAddress.set(address.to, (byAddress.get(address.to) ?? 0) + message.total);
      }
    }
  };
  for (let n = 0; n < ALERTS; n++) {
    await topic.append(PEOPLE.map((key) => notifyEvent(n, key)));
    if (n % 25 === 0) await accept();
  }
  const appendedMs = systemClock.now() - startMs;
  const isComplete = () =>
    PEOPLE.every((key) => LADDER.every(({ to }) => (covered.get(key)?.get(to) ?? 0) >= ALERTS)) &&
    [...view.figures().counts.values()].reduce((sum, { accepted }) => sum + accepted, 0) === messages;
  while (!isComplete() && systemClock.now() - startMs < 100_000) {
    await accept();
    await sleep(50);
  }
  const tookMs = systemClock.now() - startMs;
  await Promise.all([worker.stop(), follower.stop()]);
  const bytes = await stateBytes(client, job.name);
  process.stdout.write(
    `notified in ${appendedMs} ms, all in ${tookMs} ms: ${messages} messages, states of ${bytes.join(", ")} bytes\n`,
  );
  expect(troubles).toEqual([]);
  for (const key of PEOPLE)
    expect(Object.fromEntries(covered.get(key) ?? [])).toEqual({ a: 500, b: 500, c: 500, d: 500, e: 500 });
  expect(view.funnelsOf("S250#1")).toHaveLength(PEOPLE.length * LADDER.length);
  expect(view.funnelsOf("S250#1").every(({ acceptedMs }) => acceptedMs !== undefined)).toBe(true);
});

const notifyEvent = (n: number, key: string): NewEvent => ({
  ...{ id: `${key}-${n}`, key, kind: NOTIFY_EVENT },
  payload: { alert: alertOf(`S${n}`), level: 0, recipient: recipientOf([LADDER], { key }) },
});

const acceptedEvent = ({ recipient, address, message }: SendRequest): NewEvent => ({
  ...{ id: message.id, key: recipient, kind: DELIVERED_EVENT },
  payload: { messageId: message.id, address, result: "accepted" } satisfies DeliveredEvent,
});

async function stateBytes(client: RedisClient, job: string): Promise<number[]> {
  const keys = Array.from({ length: PARTITIONS }, (_, partition) => partitionKeys("t", NOTIFICATIONS_TOPIC, partition));
  const states = await Promise.all(keys.map((each) => client.hgetallBuffer(each.state(job))));
  return states.flatMap((each) => Object.values(each).map(({ length }) => length));
}
