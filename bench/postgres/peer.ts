/**
 * Reservations in the fastest way for PostgreSQL: one prepared, set-based statement a batch, over several
 * connections. Lines of one SKU use one connection as long as there are enough SKUs, so no two transactions need the
 * same row and there is no deadlock; those of a single SKU use all connections in turn. It does less than our ledger,
 * in PostgreSQL's favour: no breaker, no repeated answers, no index of the ends of holds, no ordered log.
 */
import { readFileSync } from "node:fs";
import type { Client } from "pg";
import { stopwatch } from "../../engine/kernel/clock.js";
import { assert } from "../../engine/kernel/errors.js";
import type { ReserveStock } from "../../engine/stock/model.js";
import { partitionOf } from "../../engine/stream/partition.js";
import type { PostgresServer } from "./server.js";

/** `on`: a commit is answered when it is on disk; `off`: it is there within about half a second. */
export type SynchronousCommit = "on" | "off";

export interface PostgresShape {
  connections: number;
  /** Lines a statement. */
  batch: number;
  synchronousCommit: SynchronousCommit;
}

const SCHEMA = readFileSync(new URL("./schema.sql", import.meta.url), "utf8");
const RESERVE = readFileSync(new URL("./reserve.sql", import.meta.url), "utf8");
const MOST_CONNECTIONS = 4;

export type PostgresDriver = typeof import("pg")["default"];

/** The driver `pg`, which comes with the packages for development; undefined when it is not installed. */
export const findDriver = (): Promise<PostgresDriver | undefined> =>
  import("pg").then(
    ({ default: pg }) => pg,
    (thrown: NodeJS.ErrnoException) => {
      if (thrown.code === "ERR_MODULE_NOT_FOUND") return undefined;
      throw thrown;
    },
  );

export class PostgresPeer {
  readonly version: string;
  readonly #clients: Client[];

  private constructor(clients: Client[], version: string) {
    this.#clients = clients;
    this.version = version;
  }

  /** Connects and makes the tables. */
  static async open({ host, user }: PostgresServer, pg: PostgresDriver): Promise<PostgresPeer> {
    const clients = Array.from({ length: MOST_CONNECTIONS }, () => new pg.Client({ host, user, database: "postgres" }));
    await Promise.all(clients.map((client) => client.connect()));
    const [first] = clients as [Client];
    await first.query(SCHEMA);
    const { rows } = await first.query<{ server_version: string }>("SHOW server_version");
    return new PostgresPeer(clients, rows[0]?.server_version.split(" ")[0] ?? "");
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.end()));
  }

  /** Empty tables with so many units of each SKU; nothing of it is still to be written to disk. */
  async fill(skus: readonly string[], units: number): Promise<void> {
    const [first] = this.#clients as [Client];
    await first.query("TRUNCATE stock, lines");
    await first.query("INSERT INTO stock (sku, sellable) SELECT unnest($1::text[]), $2", [skus, units]);
    await first.query("VACUUM (ANALYZE) stock, lines");
    await first.query("CHECKPOINT");
  }

  /** Reserves all lines, batch after batch on each connection; returns lines a second. */
  async reserve(commands: readonly ReserveStock[], shape: PostgresShape): Promise<number> {
    const clients = this.#clients.slice(0, shape.connections);
    await Promise.all(clients.map((client) => client.query(`SET synchronous_commit = ${shape.synchronousCommit}`)));
    const isOneSku = commands.every(({ sku }) => sku === commands[0]?.sku);
    const shares: ReserveStock[][] = clients.map(() => []);
    commands.forEach((command, i) => {
      const share = isOneSku ? Math.floor(i / shape.batch) % clients.length : partitionOf(command.sku, clients.length);
      shares[share]?.push(command);
    });
    const elapsed = stopwatch();
    await Promise.all(
      clients.map(async (client, i) => {
        const share = shares[i] as ReserveStock[];
        for (let first = 0; first < share.length; first += shape.batch)
          await reserveBatch(client, share.slice(first, first + shape.batch));
      }),
    );
    return commands.length / (elapsed() / 1_000);
  }
}

async function reserveBatch(client: Client, lines: readonly ReserveStock[]): Promise<void> {
  let ids = "";
  let skus = "";
  let units = "";
  for (const line of lines) {
    ids += `,${line.id}`;
    skus += `,${line.sku}`;
    units += `,${line.units}`;
  }
  const values = [ids.slice(1), skus.slice(1), units.slice(1)];
  const { rows } = await client.query<{ reserved: number }>({ name: "reserve", text: RESERVE, values });
  assert(rows[0]?.reserved === lines.length, "a reservation was refused");
}
