/**
 * A primary with replicas, and Sentinels that watch them, on loopback. Three Sentinels agree by two; the primary is
 * taken for dead after three seconds, so that a busy machine is not. Ends every server by its own process id.
 */
import { Server, until } from "./server.js";

export interface SentinelSettings {
  replicas?: number;
  sentinels?: number;
  /** Asked of Redis, not of the Sentinels. */
  password?: string;
  /** More lines of every server's configuration. */
  settings?: Record<string, string>;
}

const NAME = "shop";
const DOWN_AFTER_MS = 3_000;
const FAILOVER_TIMEOUT_MS = 5_000;
const QUORUM = 2;

export class SentinelBed {
  readonly servers: Server[] = [];
  readonly sentinels: Server[] = [];
  #password: string | undefined;

  static async start({ replicas = 2, sentinels = 3, password, settings = {} }: SentinelSettings = {}) {
    const bed = new SentinelBed();
    bed.#password = password;
    const access = password === undefined ? {} : { requirepass: password, masterauth: password };
    const lines = { save: '""', appendonly: "no", "repl-diskless-sync-delay": "0", ...access, ...settings };
    try {
      const primary = await Server.start(lines);
      bed.servers.push(primary);
      for (let i = 0; i < replicas; i++)
        bed.servers.push(await Server.start({ ...lines, replicaof: `127.0.0.1 ${primary.port}` }));
      for (let i = 0; i < sentinels; i++) {
        const watch = {
          "sentinel monitor": `${NAME} 127.0.0.1 ${primary.port} ${QUORUM}`,
          "sentinel down-after-milliseconds": `${NAME} ${DOWN_AFTER_MS}`,
          "sentinel failover-timeout": `${NAME} ${FAILOVER_TIMEOUT_MS}`,
          "sentinel parallel-syncs": `${NAME} 1`,
          ...(password === undefined ? {} : { "sentinel auth-pass": `${NAME} ${password}` }),
        };
        bed.sentinels.push(await Server.start(watch, ["--sentinel"]));
      }
      await until(async () => (await primary.info("replication", "connected_slaves")) === String(replicas), "replicas");
      await until(() => bed.#isWatched(replicas, sentinels - 1), "the Sentinels to find all servers");
    } catch (thrown) {
      await bed.stop();
      throw thrown;
    }
    return bed;
  }

  /** The value for SHUIWEI_REDIS_URL. */
  get url(): string {
    const access = this.#password === undefined ? "" : `:${encodeURIComponent(this.#password)}@`;
    return `redis+sentinel://${access}${this.sentinels.map(({ address }) => address).join(",")}/${NAME}`;
  }

  /** The primary that each Sentinel names. */
  async primaries(): Promise<(Server | undefined)[]> {
    const addresses = await Promise.all(
      this.sentinels.map(({ client }) => client.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)),
    );
    return (addresses as ([host: string, port: string] | null)[]).map((address) =>
      this.servers.find(({ port }) => String(port) === address?.[1]),
    );
  }

  /** Waits until all Sentinels name another primary: each change makes every client connect again. */
  async successorOf(primary: Server): Promise<void> {
    await until(
      async () => (await this.primaries()).every((named) => named !== undefined && named !== primary),
      "the Sentinels to name another primary",
    );
  }

  async stop(): Promise<void> {
    await Promise.all([...this.servers, ...this.sentinels].map((server) => server.stop()));
  }

  async #isWatched(replicas: number, others: number): Promise<boolean> {
    const counts = await Promise.all(
      this.sentinels.map(async ({ client }) => {
        const fields = (await client.call("SENTINEL", "MASTER", NAME)) as string[];
        const of = (name: string) => Number(fields[fields.indexOf(name) + 1]);
        return of("num-slaves") === replicas && of("num-other-sentinels") === others;
      }),
    );
    return counts.every(Boolean);
  }
}
