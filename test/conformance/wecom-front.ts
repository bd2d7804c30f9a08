/**
 * WeCom as the suite of channels needs it: tokens always come from the sandbox, and messages go to the system that the
 * test names, so that its answers, its silence and its end are those to a message.
 */
import { once } from "node:events";
import { createServer, type Server, request as send } from "node:http";
import { type AddressInfo, connect } from "node:net";

export class WecomFront {
  readonly #server: Server;

  private constructor(tokensFrom: string, messagesTo: string) {
    this.#server = createServer((request, reply) => {
      const isToken = request.url?.startsWith("/cgi-bin/gettoken") === true;
      const { method = "GET", headers } = request;
      const onward = send(new URL(request.url ?? "/", isToken ? tokensFrom : messagesTo), { method, headers });
      onward.on("response", (answer) => {
        reply.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.on("error", () => reply.destroy());
        answer.pipe(reply);
      });
      onward.on("error", () => reply.destroy());
      reply.on("close", () => onward.destroy());
      reply.on("error", () => {});
      request.pipe(onward);
    });
  }

  static async start(tokensFrom: string, messagesTo: string): Promise<WecomFront> {
    const front = new WecomFront(tokensFrom, messagesTo);
    front.#server.listen(0, "127.0.0.1");
    await once(front.#server, "listening");
    return front;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}

/** Whether something listens at an origin. */
export function isThere(origin: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(origin).port), "127.0.0.1");
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
