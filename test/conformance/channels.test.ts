/**
 * Every channel of the product passes the suite of test/conformance/channel.ts.
 */
import { webhookKind } from "../../connectors/webhook/kind.js";
import { WEBHOOK_SANDBOX, WebhookSandbox } from "../../connectors/webhook/sandbox.js";
import { channelParts, describeChannel } from "./channel.js";

describeChannel(
  "webhook",
  { recognisesRepeats: true, readsAnswers: false, secrets: [WEBHOOK_SANDBOX.secret] },
  async () => {
    const sandbox = new WebhookSandbox();
    await sandbox.start();
    return {
      origin: sandbox.url,
      to: "erp",
      open: (origin, timeoutMs) => {
        const settings = { url: `${origin}/hooks`, secret: WEBHOOK_SANDBOX.secret };
        return webhookKind.open({ ...channelParts(timeoutMs), endpoints: [{ name: "erp", settings }] });
      },
      displayed: () => sandbox.messages.map((message) => JSON.stringify(message)),
      close: () => sandbox.stop(),
    };
  },
);
