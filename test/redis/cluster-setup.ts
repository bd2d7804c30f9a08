/**
 * The Clusters of a whole test run on one, one for each worker: started before the first file, ended after the last.
 * The files' processes get their addresses through the environment. The files of a worker share its Cluster, so they
 * run one after the other. Each group of files calls this; the first starts them.
 */
import { ClusterBed } from "./cluster.js";

export const CLUSTER_WORKERS = 2;
/** Nothing fails over because a busy machine has stopped a node for a while. */
const NODE_TIMEOUT_MS = 30_000;

export default async function setup(): Promise<() => Promise<void>> {
  if (process.env["SHUIWEI_TEST_CLUSTERS"]) return async () => {};
  const beds: ClusterBed[] = [];
  const stop = async (): Promise<void> => {
    for (const bed of beds) await bed.stop();
  };
  try {
    while (beds.length < CLUSTER_WORKERS) beds.push(await ClusterBed.start({ nodeTimeoutMs: NODE_TIMEOUT_MS }));
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  process.env["SHUIWEI_TEST_CLUSTERS"] = beds.map(({ url }) => url).join(" ");
  return stop;
}
