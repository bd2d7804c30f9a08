/**
 * Which dead letters a command is about: those of a topic's jobs or of a sink, by partition, job and id. An id is
 * `PARTITION/TIME-NUMBER`, for example `07/1718640000000-0`.
 */
import type { Deployment } from "../app/deployment.js";
import { emitReadersOf, type Tables, type TopicEntry } from "../app/tables.js";
import { badInput } from "../kernel/errors.js";
import { listDeadLetters, type StoredDeadLetter } from "../stream/dead-letter.js";
import { type PartitionKeys, partitionKeys, sinkKeys } from "../stream/keys.js";
import type { DeadLetterOptions } from "./dead-letter-options.js";

/** The operation that errors of the command name. */
export const OP = "dead-letters";
/** Dead letters of one read or one call. */
export const PAGE = 500;

/** Dead letters of one partition. */
export interface Group {
  partition: number;
  keys: PartitionKeys;
  ids: string[];
}

/** Whose dead letters they are: those of a topic's jobs, or of a sink. */
export interface Source {
  readonly topic: TopicEntry;
  readonly sink: string | undefined;
}

/** The options, and the source that they name. */
export type Selection = Pick<DeadLetterOptions, "prefix" | "partition" | "actor" | "job" | "json" | "wait"> & {
  readonly source: Source;
};

/** @throws EngineError `bad_input` when the tables have no such topic or sink */
export function selectionOf(options: DeadLetterOptions, tables: Tables): Selection {
  const { topics } = tables;
  const sinks = emitReadersOf(tables);
  const [name, sink] = options.from.split("/") as [string, string | undefined];
  const topic = topics.find((each) => each.name === name);
  const isKnown = topic && (sink === undefined || sinks.some((each) => each.topic === name && each.name === sink));
  if (!isKnown) {
    const names = [...topics.map((each) => each.name), ...sinks.map((each) => `${each.topic}/${each.name}`)];
    throw badInput(OP, "--from", `${JSON.stringify(options.from)} is not one of ${names.join(", ")}`);
  }
  return { ...options, source: { topic, sink } };
}

export function* partitionsOf({ partitions }: Deployment, selection: Selection): Generator<Omit<Group, "ids">> {
  const { prefix, partition, source } = selection;
  const { topic, sink } = source;
  if (partition !== undefined && partition >= partitions)
    throw badInput(OP, "--partition", `this deployment has ${partitions} partitions, from 0`);
  for (let p = partition ?? 0; p <= (partition ?? partitions - 1); p++)
    yield {
      partition: p,
      keys: sink === undefined ? partitionKeys(prefix, topic.name, p) : sinkKeys(prefix, topic.name, p, sink),
    };
}

export async function* deadLettersOf(
  { redis }: Deployment,
  keys: PartitionKeys,
  { job }: Selection,
): AsyncGenerator<StoredDeadLetter> {
  for (let after = "-"; ; ) {
    const page = await listDeadLetters(redis, keys, after, PAGE);
    for (const deadLetter of page) if (job === undefined || deadLetter.job === job) yield deadLetter;
    if (page.length < PAGE) return;
    after = page.at(-1)?.id ?? after;
  }
}

/** The dead letters that ids name, by partition; `all` names every one of the given partition and job. */
export async function groupsOf(reached: Deployment, ids: readonly string[], selection: Selection): Promise<Group[]> {
  const groups = [...partitionsOf(reached, { ...selection, partition: undefined })].map((group) => ({
    ...group,
    ids: [] as string[],
  }));
  for (const id of new Set(ids)) {
    if (id === "all") continue;
    const [, partition, deadLetter] = /^(\d{1,3})\/(\d{1,15}-\d{1,15})$/.exec(id) ?? [];
    const group = groups[Number(partition)];
    if (!group || deadLetter === undefined)
      throw badInput(
        OP,
        "ID",
        `${JSON.stringify(id)} is no id of a dead letter of this deployment, such as 07/1718640000000-0`,
      );
    group.ids.push(deadLetter);
  }
  if (ids.includes("all")) {
    for (const { partition, keys } of partitionsOf(reached, selection)) {
      const all = new Set(groups[partition]?.ids);
      for await (const { id } of deadLettersOf(reached, keys, selection)) all.add(id);
      (groups[partition] as Group).ids = [...all];
    }
  }
  return groups.filter((group) => group.ids.length > 0);
}

export function* pagesOf(ids: readonly string[]): Generator<string[]> {
  for (let from = 0; from < ids.length; from += PAGE) yield ids.slice(from, from + PAGE);
}

export const idOf = (partition: number, id: string): string => `${String(partition).padStart(2, "0")}/${id}`;
