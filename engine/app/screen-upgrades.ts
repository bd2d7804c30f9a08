/**
 * WebSocket upgrades of the screens: checks host, origin and session, hands the connection to the gateway, and closes
 * a screen within 10 s of the end of its session or token. An upgrade to anything else is served as a plain request.
 */
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import type { FastifyInstance } from "fastify";
import {
  type Connections,
  type HttpDeps,
  hasTruncatedHeaders,
  hostOrOriginFault,
  serveWithoutUpgrade,
} from "../../connectors/http/index.js";
import type { Gateway } from "../../dashboards/gateway.js";
import { LIVE_PATH } from "../../dashboards/protocol.js";
import { answerRaw } from "./raw-answer.js";

type ScreenGateway = Pick<Gateway, "handleUpgrade">;

/** How soon a screen is closed after its session was revoked. */
const RECHECK_MS = 10_000;

export interface ScreenUpgradesOptions {
  server: Server;
  connections: Connections;
  access: FastifyInstance["access"];
  /** Without it every upgrade is served as a plain request, or refused. */
  gateway: ScreenGateway | undefined;
  deps: HttpDeps;
}

export class ScreenUpgrades {
  readonly #options: ScreenUpgradesOptions;
  /** Screens that need a session, with the request that opened them. */
  readonly #withSession = new Map<Duplex, IncomingMessage>();
  readonly #screens = new WeakSet<Duplex>();
  #recheckTimer: NodeJS.Timeout | undefined;

  constructor(options: ScreenUpgradesOptions) {
    this.#options = options;
  }

  start(): void {
    const { server, connections } = this.#options;
    server.on("upgrade", (request, socket, head) => {
      connections.handOver(socket, () => this.#upgrade(request, socket, head));
    });
    this.#recheckTimer = setInterval(() => this.#recheck(), RECHECK_MS);
    this.#recheckTimer.unref();
  }

  stop(): void {
    clearInterval(this.#recheckTimer);
  }

  /** Whether a connection belongs to a screen. */
  isScreen(socket: Duplex): boolean {
    return this.#screens.has(socket);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { server, access, gateway, deps } = this.#options;
    if (hasTruncatedHeaders(request)) {
      answerRaw(socket, "headers_too_large");
      return;
    }
    if (!gateway || !isLiveViewRequest(request)) {
      if (!serveWithoutUpgrade(server, request, socket, head)) answerRaw(socket, "bad_request");
      return;
    }
    const refusal = deps.stopping() ? "stopping" : hostOrOriginFault(request, deps);
    if (refusal) answerRaw(socket, refusal);
    else if (access.isOpen("screens")) {
      this.#screens.add(socket);
      gateway.handleUpgrade(request, socket, head, access.quotaKeyOf(request));
    } else this.#openWithSession(gateway, request, socket, head);
  }

  #openWithSession(gateway: ScreenGateway, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => socket.destroy());
    this.#options.access.authenticate(request, { needsOrigin: true }).then(
      (caller) => {
        // Its `close` was emitted already, so it would never leave the map.
        if (socket.destroyed) return;
        if ("code" in caller) {
          answerRaw(socket, caller.code);
          return;
        }
        this.#screens.add(socket);
        gateway.handleUpgrade(request, socket, head, caller.quotaKey);
        this.#withSession.set(socket, request);
        socket.once("close", () => this.#withSession.delete(socket));
      },
      () => answerRaw(socket, "unavailable"),
    );
  }

  /** Closes the screens whose session or token has ended. */
  #recheck(): void {
    for (const [socket, request] of this.#withSession)
      this.#options.access.authenticate(request, { needsOrigin: true }).then(
        (caller) => {
          if ("code" in caller) socket.destroy();
        },
        () => {}, // Redis does not answer: the screen shows old data and says so
      );
  }
}

const isLiveViewRequest = ({ headers, url }: IncomingMessage): boolean =>
  headers.upgrade?.toLowerCase() === "websocket" && url?.split("?", 1)[0] === LIVE_PATH;
