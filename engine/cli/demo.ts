/** `shuiwei demo`: a simulated shop's traffic on this machine, with live screens. */
import { demoOptions } from "../app/config.js";
import { defineCommand } from "./command.js";

export const command = defineCommand({
  name: "demo",
  about: "simulated traffic of a shop on this machine, with live screens; nothing to configure",
  options: demoOptions,
  async run({ values, signal }) {
    const { runDemo } = await import("../app/demo.js");
    await runDemo(values, signal);
  },
});
