/**
 * The Cluster of a whole test run on one: started before the first file, ended after the last. The files' processes
 * get its address through the environment. Files share it, so they run one after the other, and so do the groups of
 * files: each calls this, the first starts it.
 */
import { ClusterBed } from "./cluster.js";

export default async function setup(): Promise<() => Promise<void>> {
  if (process.env["SHUIWEI_TEST_CLUSTER"]) return async () => {};
  const bed = await ClusterBed.start();
  process.env["SHUIWEI_TEST_CLUSTER"] = bed.url;
  return () => bed.stop();
}
