/**
 * Connects an operator's command to the Redis of a deployment, running or not: by its address, or the private one of
 * a folder, through the socket of the `serve` that uses it. When none does, the private Redis is started for as long
 * as the command takes. It takes no lease, starts no job and creates nothing: a folder or prefix without a deployment
 * is reported as the user's mistake.
 */
import { badInput } from "../kernel/errors.js";
import { holdsData, runningSocket, startRedis } from "../redis/embedded.js";
import { checkFormat, readDeployment } from "../stream/format.js";
import { checkRedis, connect, type RedisClient } from "../stream/redis.js";

export interface Deployment {
  readonly redis: RedisClient;
  /** As the deployment was created. */
  readonly partitions: number;
  readonly format: number;
  /** Whether the private Redis was started for this command: then no worker runs. */
  readonly isAlone: boolean;
}

/**
 * Runs `work` with the Redis of a deployment, and closes what it has opened.
 * @param command for messages
 * @throws EngineError `bad_input` when there is no such deployment, `format_too_new` when a newer release has made
 *   it; as startRedis and checkRedis; and whatever `work` throws
 */
export async function withDeployment(
  command: string,
  { redisUrl, dir, prefix }: { redisUrl: string | undefined; dir: string; prefix: string },
  work: (reached: Deployment) => Promise<void>,
): Promise<void> {
  const missing = () =>
    redisUrl === undefined
      ? badInput(command, "--dir", `there is no deployment "${prefix}" in ${dir}`)
      : badInput(command, "--redis-url", `there is no deployment "${prefix}" there`);
  const url = redisUrl ?? (await runningSocket(dir));
  if (url === undefined && !(await holdsData(dir))) throw missing();
  const own = url === undefined ? await startRedis({ dir }) : undefined;
  try {
    const address = { url: url ?? (own?.socketPath as string) };
    const redis = connect(address);
    try {
      await checkRedis(redis, address, () => {});
      const deployment = await readDeployment(redis, prefix);
      if (!deployment) throw missing();
      const { partitions, format } = deployment;
      checkFormat(format);
      await work({ redis, partitions, format, isAlone: own !== undefined });
    } finally {
      redis.disconnect();
    }
  } finally {
    await own?.stop();
  }
}
