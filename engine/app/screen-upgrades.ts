/**
 * WebSocket upgrades of the screens: checks host, origin and session, hands the connection to the gateway with the role
 * of its identity, and closes a screen within 15 s of the end of its session or token, or a change of its role. An
 * upgrade to anything else is served as a plain request.
 */
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import type { FastifyInstance } from "fastify";
import {
  type Connections,
  DEMO_IDENTITY,
  type HttpDeps,
  hasTruncatedHeaders,
  hostOrOriginFault,
  type Identity,
  mayDo,
  serveWithoutUpgrade,
} from "../../connectors/http/index.js";
import type { Gateway } from "../../dashboards/gateway.js";
import type { Viewer } from "../../dashboards/live-client.js";
import { LIVE_PATH } from "../../dashboards/protocol.js";
import { answerRaw } from "./raw-answer.js";

type RefusalCode = Parameters<typeof answerRaw>[1];
type ScreenGateway = Pick<Gateway, "handleUpgrade">;

/** What everybody may see on open screens. */
const PUBLIC_IDENTITY: Identity = { name: "public", role: "read" };
/** How often screens are checked; a session that another process has ended may be cached for 5 s more. */
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
  /** Screens of an identity, with the request that opened them and the role that they have. */
  readonly #identified = new Map<Duplex, { request: IncomingMessage; role: Identity["role"] }>();
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
    else if (access.isOpen("screens") && (deps.open || !access.hasCredentials(request)))
      this.#openPublic(gateway, request, socket, head);
    else this.#openIdentified(gateway, request, socket, head);
  }

  /** Open screens need no identity, and show what everybody may read. */
  #openPublic(gateway: ScreenGateway, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { access, deps } = this.#options;
    this.#screens.add(socket);
    const viewer = viewerOf(deps.open ? DEMO_IDENTITY : PUBLIC_IDENTITY, access.quotaKeyOf(request));
    gateway.handleUpgrade(request, socket, head, viewer);
  }

  #openIdentified(gateway: ScreenGateway, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { access } = this.#options;
    socket.on("error", () => socket.destroy());
    const refuse = (code: RefusalCode) => {
      if (access.isOpen("screens")) this.#openPublic(gateway, request, socket, head);
      else answerRaw(socket, code);
    };
    access.authenticate(request, { needsOrigin: true }).then(
      (caller) => {
        // Its `close` was emitted already, so it would never leave the map.
        if (socket.destroyed) return;
        if ("code" in caller) {
          refuse(caller.code);
          return;
        }
        const { identity, quotaKey } = caller;
        this.#screens.add(socket);
        gateway.handleUpgrade(request, socket, head, viewerOf(identity, quotaKey));
        this.#identified.set(socket, { request, role: identity.role });
        socket.once("close", () => this.#identified.delete(socket));
      },
      () => refuse("unavailable"),
    );
  }

  /** Closes the screens whose session or token has ended, or has another role now. */
  #recheck(): void {
    for (const [socket, { request, role }] of this.#identified)
      this.#options.access.authenticate(request, { needsOrigin: true }).then(
        (caller) => {
          if ("code" in caller || caller.identity.role !== role) socket.destroy();
        },
        () => {}, // Redis does not answer: the screen shows old data as old
      );
  }
}

const viewerOf = (identity: Identity, group: string): Viewer => ({ group, may: (role) => mayDo(identity, role) });

const isLiveViewRequest = ({ headers, url }: IncomingMessage): boolean =>
  headers.upgrade?.toLowerCase() === "websocket" && url?.split("?", 1)[0] === LIVE_PATH;
