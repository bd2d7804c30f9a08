/** What is stopped, and in which order, when parts were started, also when the start of one of them failed. */

import { describe, expect, it } from "vitest";
import { Lifecycle } from "../../engine/app/lifecycle.js";

describe("the parts of a process", () => {
  const done: string[] = [];
  const part = (name: string, start: () => unknown = () => {}) => ({
    start: async () => {
      done.push(`${name} starts`);
      await start();
    },
    stop: () => done.push(`${name} stops`),
  });

  it("are stopped in the opposite order, once", async () => {
    done.length = 0;
    const lifecycle = new Lifecycle();
    await lifecycle.start(part("a"));
    await lifecycle.start(part("b"));
    await lifecycle.stop();
    await lifecycle.stop();
    expect(done).toEqual(["a starts", "b starts", "b stops", "a stops"]);
  });

  it("are stopped when their start fails, because it may have begun something", async () => {
    done.length = 0;
    const lifecycle = new Lifecycle();
    const failing = part("a", () => {
      throw new Error("no Redis");
    });
    await expect(lifecycle.start(failing)).rejects.toThrow("no Redis");
    await lifecycle.stop();
    expect(done).toEqual(["a starts", "a stops"]);
  });

  it("are stopped after their start when another start fails meanwhile", async () => {
    done.length = 0;
    const lifecycle = new Lifecycle();
    let end = (): void => {};
    const slow = part("slow", async () => {
      await new Promise<void>((resolve) => {
        end = resolve;
      });
      done.push("slow is running");
    });
    const failing = part("failing", () => {
      throw new Error("no Redis");
    });
    await expect(Promise.all([slow, failing].map((each) => lifecycle.start(each)))).rejects.toThrow("no Redis");
    const stopping = lifecycle.stop();
    end();
    await stopping;
    expect(done.filter((each) => each.startsWith("slow"))).toEqual(["slow starts", "slow is running", "slow stops"]);
    expect(done.filter((each) => each.startsWith("failing"))).toEqual(["failing starts", "failing stops"]);
  });
});
