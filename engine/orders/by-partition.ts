/** Adds items of orders to the batchers of their orders' partitions. */
import type { TurnBatcher } from "../kernel/turn-batcher.js";
import { partitionOf } from "../stream/partition.js";

/** The results in the order of the items. */
export async function addByPartition<Item extends { id: string }, Result>(
  batchers: readonly TurnBatcher<Item, Result>[],
  items: readonly Item[],
): Promise<Result[]> {
  const results = new Array<Result>(items.length);
  const parts = new Map<number, number[]>();
  for (const [i, { id }] of items.entries()) {
    const partition = partitionOf(id, batchers.length);
    const part = parts.get(partition);
    if (part) part.push(i);
    else parts.set(partition, [i]);
  }
  await Promise.all(
    [...parts].map(async ([partition, indexes]) => {
      const batcher = batchers[partition] as TurnBatcher<Item, Result>;
      const own = await batcher.add(indexes.map((i) => items[i] as Item));
      for (let i = 0; i < own.length; i++) results[indexes[i] as number] = own[i] as Result;
    }),
  );
  return results;
}
