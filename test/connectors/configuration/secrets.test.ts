/** References to secrets in a source's connection. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Type } from "typebox";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { secretText } from "../../../connectors/configuration/secret-text.js";
import { resolveSecrets } from "../../../connectors/configuration/secrets.js";

const schema = Type.Object({
  url: Type.String(),
  auth: Type.Union([
    Type.Object({ type: Type.Literal("bearer"), token: secretText("token") }),
    Type.Object({ type: Type.Literal("basic"), user: Type.String(), password: secretText("password") }),
  ]),
});

describe("a reference to a secret", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "secrets-"));
    await writeFile(join(folder, "token"), "of-the-file\n");
    await writeFile(join(folder, "empty"), "");
    await writeFile(join(folder, "long"), "x".repeat(20_000));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const resolve = (auth: object) =>
    resolveSecrets(
      schema as unknown as Record<string, unknown>,
      { url: "http://x", auth },
      { env: (name) => (name === "TOKEN" ? "of-the-variable" : undefined), folder },
    );

  it("becomes the text of the variable or the file", async () => {
    const byVariable = await resolve({ type: "bearer", token: { env: "TOKEN" } });
    expect(byVariable).toEqual({
      settings: { url: "http://x", auth: { type: "bearer", token: "of-the-variable" } },
      faults: [],
      texts: ["of-the-variable"],
    });
    const byFile = await resolve({ type: "basic", user: "u", password: { file: "token" } });
    expect(byFile.settings).toMatchObject({ auth: { user: "u", password: "of-the-file" } });
    expect(byFile.texts).toEqual(["of-the-file"]);
  });

  it.each([
    [{ env: "NOT_SET" }, "NOT_SET is not set"],
    [{ file: "missing" }, "cannot be read (ENOENT)"],
    [{ file: "empty" }, "is empty"],
    [{ file: "long" }, "has 20000 bytes"],
  ])("that leads nowhere is a fault with its place: %j", async (token, message) => {
    const { faults } = await resolve({ type: "bearer", token });
    expect(faults).toEqual([{ pointer: "/auth/token", message: expect.stringContaining(message) }]);
  });
});
