/** Whether promtool, Prometheus' own tool, is on this machine (Debian: package prometheus). */
import { execFileSync } from "node:child_process";

export const hasPromtool = (() => {
  try {
    execFileSync("promtool", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();
