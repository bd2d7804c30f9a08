/**
 * A screen of the fault tests: a live WebSocket client that receives a wall's heatmap like a page, reconnects whenever
 * its connection ends, and checks what it receives: a snapshot first, then frames without a gap, rows that match the
 * order. Every value is absolute, so what it shows at the end can be compared with the ledger. It draws nothing.
 */
import { WebSocket } from "ws";
import type { HeatDelta, HeatRow, HeatSnapshot } from "../../dashboards/feeds/stock-heat/body.js";
import { type BodyFrame, decodeServerFrame, encodeClientFrame, LIVE_PATH } from "../../dashboards/protocol.js";

const RECONNECT_MS = 200;
const FEED = "stock-heat";

export class Screen {
  /** Figures by SKU, as shown now. */
  get rows(): Map<string, HeatRow> {
    return new Map([...this.#rows.values()].map((row) => [row[1], row]));
  }
  /** Whether a snapshot of the present connection is shown. */
  isLive = false;
  connections = 0;
  snapshots = 0;
  readonly faults: string[] = [];
  readonly #rows = new Map<number, HeatRow>();
  readonly #url: string;
  readonly #token: string;
  #socket: WebSocket | undefined;
  #seq: number | undefined;
  #closed = false;

  /** @param token one with the read role */
  constructor(api: string, token: string) {
    this.#token = token;
    this.#url = api.replace("http", "ws") + LIVE_PATH;
    this.#connect();
  }

  close(): void {
    this.#closed = true;
    this.#socket?.terminate();
  }

  #connect(): void {
    if (this.#closed) return;
    const socket = new WebSocket(this.#url, { headers: { authorization: `Bearer ${this.#token}` } });
    this.#socket = socket;
    socket.binaryType = "nodebuffer";
    this.#seq = undefined;
    socket.on("open", () => {
      this.connections++;
      socket.send(encodeClientFrame({ t: "subscribe", feeds: [{ name: FEED, size: "wall" }] }));
    });
    socket.on("message", (bytes: Buffer) => {
      const frame = decodeServerFrame(bytes);
      if (frame.t === "heartbeat") return;
      if (frame.t === "refused") {
        this.faults.push(`the feed is refused: ${frame.reason}`);
        return;
      }
      socket.send(encodeClientFrame({ t: "ack", feed: FEED, seq: frame.seq }));
      this.#take(frame, socket);
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isLive = false;
      setTimeout(() => this.#connect(), RECONNECT_MS);
    });
  }

  #take(frame: BodyFrame, socket: WebSocket): void {
    if (frame.t === "snapshot") {
      const { rows, order, cells } = frame.body as HeatSnapshot;
      this.snapshots++;
      this.#rows.clear();
      for (const row of rows) this.#rows.set(row[0], row);
      if (this.#rows.size !== rows.length || this.rows.size !== rows.length)
        this.faults.push(`a snapshot of ${rows.length} rows names some twice`);
      const strangers = [...order, ...cells.map(([id]) => id as number)].filter((id) => !this.#rows.has(id));
      if (strangers.length > 0) this.faults.push(`a snapshot ranks rows that it does not have: ${strangers}`);
      this.#seq = frame.seq;
      this.isLive = true;
    } else if (this.#seq === undefined) this.faults.push("a change came before the first snapshot");
    else if (frame.seq !== this.#seq + 1) {
      // A client that was behind is skipped; the rule is to ask for everything again.
      this.#seq = frame.seq;
      this.isLive = false;
      socket.send(encodeClientFrame({ t: "resync", feed: FEED }));
    } else {
      this.#seq = frame.seq;
      if (!this.isLive) return;
      const { rows = [], removed = [] } = frame.body as HeatDelta;
      for (const row of rows) this.#rows.set(row[0], row);
      for (const id of removed) this.#rows.delete(id);
    }
  }
}
