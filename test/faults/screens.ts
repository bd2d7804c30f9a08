/**
 * A screen of the fault tests: a live WebSocket client that receives the wall like a page, reconnects whenever its
 * connection ends, and checks what it receives: a snapshot first, then frames without a gap, rows that match the
 * order. Every value is absolute, so what it shows at the end can be compared with the ledger. It draws
 * nothing.
 */
import { WebSocket } from "ws";
import {
  decodeServerFrame,
  encodeClientFrame,
  FrameKind,
  LIVE_PATH,
  type RowFrame,
  type ServerFrame,
} from "../../dashboards/protocol.js";

const RECONNECT_MS = 200;

export class Screen {
  /** Figures by SKU, as shown now. */
  get rows(): Map<string, RowFrame> {
    return new Map([...this.#rows.values()].map((row) => [row[1], row]));
  }
  /** Whether a snapshot of the present connection is shown. */
  isLive = false;
  connections = 0;
  snapshots = 0;
  readonly faults: string[] = [];
  readonly #rows = new Map<number, RowFrame>();
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
      socket.send(encodeClientFrame({ t: "subscribe", view: "wall" }));
    });
    socket.on("message", (bytes: Buffer) => {
      const frame = decodeServerFrame(bytes);
      socket.send(encodeClientFrame({ t: "ack", seq: frame.seq }));
      this.#take(frame, socket);
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isLive = false;
      setTimeout(() => this.#connect(), RECONNECT_MS);
    });
  }

  #take(frame: ServerFrame, socket: WebSocket): void {
    if (frame.t === FrameKind.snapshot) {
      this.snapshots++;
      this.#rows.clear();
      for (const row of frame.rows) this.#rows.set(row[0], row);
      if (this.#rows.size !== frame.rows.length || this.rows.size !== frame.rows.length)
        this.faults.push(`a snapshot of ${frame.rows.length} rows names some twice`);
      const strangers = [...frame.order, ...frame.cells.map(([id]) => id as number)].filter(
        (id) => !this.#rows.has(id),
      );
      if (strangers.length > 0) this.faults.push(`a snapshot ranks rows that it does not have: ${strangers}`);
      this.#seq = frame.seq;
      this.isLive = true;
    } else if (this.#seq === undefined) this.faults.push("a change came before the first snapshot");
    else if (frame.seq !== this.#seq + 1) {
      // A client that was behind is skipped; the rule is to ask for everything again.
      this.#seq = frame.seq;
      this.isLive = false;
      socket.send(encodeClientFrame({ t: "resync" }));
    } else {
      this.#seq = frame.seq;
      if (frame.t === FrameKind.delta && this.isLive) {
        for (const row of frame.rows ?? []) this.#rows.set(row[0], row);
        for (const id of frame.gone ?? []) this.#rows.delete(id);
      }
    }
  }
}
