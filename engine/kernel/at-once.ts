/**
 * Work on many items, some of them at once. After a failure no further item begins, and what is under way is waited
 * for, so that nothing goes on after the caller has the error.
 */

/** @throws the first failure; the signal's reason before an item begins */
export async function eachAtOnce<Item>(
  items: readonly Item[],
  atOnce: number,
  signal: AbortSignal | undefined,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const rest = items.values();
  let isFailed = false;
  const lanes = Array.from({ length: Math.min(atOnce, items.length) }, async () => {
    for (const item of rest) {
      if (isFailed) return;
      try {
        signal?.throwIfAborted();
        await work(item);
      } catch (thrown) {
        isFailed = true;
        throw thrown;
      }
    }
  });
  for (const lane of await Promise.allSettled(lanes)) if (lane.status === "rejected") throw lane.reason;
}
