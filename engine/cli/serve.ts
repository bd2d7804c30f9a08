/** `shuiwei serve`: the engine for a real shop. */
import { serveOptions } from "../app/config.js";
import { defineCommand } from "./command.js";

export const command = defineCommand({
  name: "serve",
  about: "the engine for a real shop",
  options: serveOptions,
  async run({ values, signal }) {
    const { runServe } = await import("../app/serve.js");
    await runServe(values, signal);
  },
});
