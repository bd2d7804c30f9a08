/**
 * The topics of the tables in a running engine: each with its jobs, the worker that runs them (where this process runs
 * jobs), the follower and the views that it fills. It does not start them: the composition root does, in its order.
 */
import type { JobParts } from "../jobs/index.js";
import { jobsOf } from "../jobs/index.js";
import { type Clock, monotonicClock } from "../kernel/clock.js";
import { assert } from "../kernel/errors.js";
import { EventTopic } from "../stream/event-topic.js";
import { Follower, type View } from "../stream/follower.js";
import type { LogEvent } from "../stream/job.js";
import { openReader } from "../stream/redis.js";
import type { Topic } from "../stream/topic.js";
import { Worker } from "../stream/worker.js";
import type { EngineRedis } from "./engine-redis.js";
import type { EngineSettings } from "./engine-settings.js";
import type { Tables, TopicEntry, TopicParts, Views } from "./tables.js";

export interface RunningTopic {
  readonly name: string;
  readonly topic: Topic<LogEvent>;
  /** Undefined where this process runs no jobs. */
  readonly worker: Worker<LogEvent> | undefined;
  readonly follower: Follower<LogEvent>;
  readonly views: readonly View[];
}

/** What workers and outboxes share. */
export function sharedByWorkers(settings: EngineSettings, { redis, address, owner }: EngineRedis) {
  const { prefix, leaseMs, onTrouble } = settings;
  return {
    prefix,
    redis,
    openReader: (key: string) => openReader(redis, address, key),
    owner,
    // Leases and deadlines do not use a clock that can be set.
    clock: monotonicClock,
    leaseMs,
    onTrouble,
  };
}

export interface RunningTopicsOptions {
  readonly tables: Tables;
  readonly settings: EngineSettings;
  readonly connections: EngineRedis;
  readonly topicParts: TopicParts;
  readonly jobParts: JobParts;
  /** The shop's time. */
  readonly clock: Clock;
}

/** Makes the topics in the order of their table. */
export function makeTopics(options: RunningTopicsOptions): readonly RunningTopic[] {
  const { tables } = options;
  return tables.topics.map((entry) => makeTopic(entry, options));
}

function makeTopic(entry: TopicEntry, options: RunningTopicsOptions): RunningTopic {
  const { tables, settings, connections, topicParts, jobParts, clock } = options;
  const { prefix, partitions, pollMs, tickMs, retentionMs, paceMs = 0, onTrouble } = settings;
  const { name, paces = 1, withViews, minPollMs = 0 } = entry;
  const jobs = jobsOf(tables.jobs, name, jobParts);
  const views = tables.jobs.flatMap(({ topic, views = [] }) => (topic === name ? views.map((View) => new View()) : []));
  const format = connections.formats.current;
  const topic = entry.make(topicParts);
  return {
    name,
    topic,
    views,
    worker: settings.worker
      ? new Worker({
          ...sharedByWorkers(settings, connections),
          topic,
          jobs,
          format,
          tickMs,
          retentionMs,
          paceMs: paces * paceMs,
          withViews: () => withViews?.(format()) ?? true,
        })
      : undefined,
    follower: new Follower({
      topic: name,
      partitions,
      jobs,
      views,
      prefix,
      redis: connections.viewRedis,
      clock,
      pollMs: Math.max(pollMs, minPollMs),
      onTrouble,
    }),
  };
}

/** The topic of a name. Asking for one that is not in the tables is a programming mistake. */
export function topicNamed(topics: readonly RunningTopic[], name: string): RunningTopic {
  const found = topics.find((topic) => topic.name === name);
  assert(found !== undefined, `the tables have no topic ${name}`);
  return found;
}

/** The event topic of a name. Asking for one that is not in the tables is a programming mistake. */
export function eventTopicNamed(topics: readonly RunningTopic[], name: string): EventTopic {
  const { topic } = topicNamed(topics, name);
  assert(topic instanceof EventTopic, `${name} is no event topic`);
  return topic;
}

/** The event topics among them. */
export const eventTopicsOf = (topics: readonly RunningTopic[]): readonly EventTopic[] =>
  topics.flatMap(({ topic }) => (topic instanceof EventTopic ? [topic] : []));

export const viewsOf = (topics: readonly RunningTopic[]): Views => ({
  of(kind) {
    const found = topics.flatMap(({ views }) => views).find((view) => view instanceof kind);
    assert(found !== undefined, `no job of the tables has the view ${kind.name}`);
    return found as InstanceType<typeof kind>;
  },
});
