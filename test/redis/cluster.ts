/**
 * A Redis Cluster of redis-servers on loopback: masters with their replicas, put together by redis-cli as an operator
 * would. Reports the primary of a key, moves a slot key by key, and adds a bare master without functions. Ends
 * every server by its own process id.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Cluster, type Redis } from "ioredis";
import { Server, until } from "./server.js";

export interface ClusterSettings {
  masters?: number;
  replicasEach?: number;
  /** A master that does not answer counts as failed after this. */
  nodeTimeoutMs?: number;
  /** More lines of every server's configuration. */
  settings?: Record<string, string>;
}

const MOVE_TIMEOUT_MS = 5_000;
const run = promisify(execFile);

export class ClusterBed {
  readonly nodes: Server[];
  readonly #settings: Record<string, string>;
  readonly #clients: Cluster[] = [];

  private constructor(nodes: Server[], settings: Record<string, string>) {
    this.nodes = nodes;
    this.#settings = settings;
  }

  static async start({ masters = 3, replicasEach = 1, nodeTimeoutMs = 2_000, settings = {} }: ClusterSettings = {}) {
    const lines = {
      save: '""',
      appendonly: "no",
      "maxmemory-policy": "noeviction",
      "cluster-enabled": "yes",
      "cluster-config-file": "nodes.conf",
      "cluster-node-timeout": String(nodeTimeoutMs),
      // The slots of the masters that live go on without the others.
      "cluster-require-full-coverage": "no",
      "cluster-allow-replica-migration": "no",
      "repl-diskless-sync-delay": "0",
      ...settings,
    };
    const nodes: Server[] = [];
    for (let i = 0; i < masters * (1 + replicasEach); i++) nodes.push(await Server.start(lines));
    const bed = new ClusterBed(nodes, lines);
    try {
      const addresses = nodes.map(({ address }) => address);
      await run("redis-cli", [
        ...["--cluster", "create", ...addresses],
        ...["--cluster-replicas", String(replicasEach), "--cluster-yes"],
      ]);
      await until(async () => (await Promise.all(nodes.map(isReady))).every(Boolean), "the cluster");
    } catch (thrown) {
      await bed.stop();
      throw thrown;
    }
    return bed;
  }

  /** The value for SHUIWEI_REDIS_URL. */
  get url(): string {
    return this.nodes.map(({ address }) => `redis://${address}`).join(",");
  }

  client(): Cluster {
    const client = clusterClient(this.url);
    this.#clients.push(client);
    return client;
  }

  /** Who is primary of a key now, as a node that lives sees it. */
  async primaryOf(key: string): Promise<Server> {
    return this.#primaryOfSlot(await this.slotOf(key));
  }

  async slotOf(key: string): Promise<number> {
    const [node] = await this.living();
    return node?.client.cluster("KEYSLOT", key) as Promise<number>;
  }

  async replicasOf(primary: Server): Promise<Server[]> {
    const living = await this.living();
    const masters = await Promise.all(living.map((node) => node.info("replication", "master_port")));
    return living.filter((_, i) => masters[i] === String(primary.port));
  }

  /** Adds a master without slots and without the functions. */
  async addBareMaster(): Promise<Server> {
    const node = await Server.start(this.#settings);
    const [first] = this.nodes as [Server];
    this.nodes.push(node);
    await node.client.cluster("MEET", "127.0.0.1", first.port);
    const known = `cluster_known_nodes:${this.nodes.length}`;
    await until(async () => {
      const infos = await Promise.all(this.nodes.map(({ client }) => infoOf(client)));
      return infos.every((info) => info.includes(known) && info.includes("cluster_state:ok"));
    }, "the new master to be known");
    return node;
  }

  /**
   * Moves a slot as an operator's tool does: key by key, open to both sides meanwhile.
   * @param onHalf called when some of the keys have moved
   */
  async moveSlot(slot: number, to: Server, onHalf: () => Promise<unknown> = async () => {}): Promise<void> {
    const from = await this.#primaryOfSlot(slot);
    if (from === to) return;
    const [fromId, toId] = (await Promise.all([from, to].map(({ client }) => client.cluster("MYID")))) as string[];
    await to.client.cluster("SETSLOT", slot, "IMPORTING", fromId as string);
    await from.client.cluster("SETSLOT", slot, "MIGRATING", toId as string);
    const all = (await from.client.cluster("GETKEYSINSLOT", slot, 1_000)) as string[];
    for (const [i, key] of all.entries()) {
      if (i === Math.floor(all.length / 2)) await onHalf();
      await from.client.call("MIGRATE", "127.0.0.1", to.port, key, 0, MOVE_TIMEOUT_MS);
    }
    await to.client.cluster("SETSLOT", slot, "NODE", toId as string);
    await from.client.cluster("SETSLOT", slot, "NODE", toId as string);
  }

  async living(): Promise<Server[]> {
    const alive = await Promise.all(this.nodes.map((node) => node.client.ping().then(Boolean, () => false)));
    return this.nodes.filter((_, i) => alive[i]);
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.disconnect();
    await Promise.all(this.nodes.map((node) => node.stop()));
  }

  async #primaryOfSlot(slot: number): Promise<Server> {
    for (const node of await this.living()) {
      const found = (await node.client.cluster("SLOTS")).find(([from, to]) => from <= slot && slot <= to);
      if (found) return this.nodes.find(({ port }) => port === found[2]?.[1]) as Server;
    }
    throw new Error(`no node has slot ${slot}`);
  }
}

/** A plain client of a Cluster to read with; it does not handle commands that a test sends twice. */
export function clusterClient(url: string, redisOptions: ClusterNodeOptions = {}): Cluster {
  const client = new Cluster(url.split(","), { redisOptions, slotsRefreshTimeout: 5_000 });
  client.on("error", () => {});
  return client;
}

export type ClusterNodeOptions = NonNullable<NonNullable<ConstructorParameters<typeof Cluster>[1]>["redisOptions"]>;

const infoOf = async (client: Redis): Promise<string> => (await client.cluster("INFO")) as string;

/** Whether a node finds all slots served, and, being a replica, follows its primary. */
async function isReady(node: Server): Promise<boolean> {
  const info = await infoOf(node.client);
  const isWhole = info.includes("cluster_state:ok") && info.includes("cluster_slots_ok:16384");
  return isWhole && (await node.info("replication", "master_link_status")) !== "down";
}
