/**
 * Tokens as they are set: names, roles, and what is refused, with a message that repeats no secret.
 */
import { expect, it } from "vitest";
import { digestOf, readTokens } from "../../../connectors/http/tokens.js";

const SECRET = "0123456789abcdef";

it("have a name and a role; a secret alone is default and admin", () => {
  const table = readTokens([`shop:order:${SECRET}1`, `${SECRET}2`, `shop:order:${SECRET}3`]);
  expect(table.get(digestOf(`${SECRET}1`))).toEqual({ name: "shop", role: "order" });
  expect(table.get(digestOf(`${SECRET}2`))).toEqual({ name: "default", role: "admin" });
  expect(table.get(digestOf(`${SECRET}3`))).toEqual({ name: "shop", role: "order" });
  expect(table.get(SECRET)).toBeUndefined();
});

it.each([
  ["short", ["short"], "fewer than 16"],
  ["short behind a name", ["shop:read:short"], "fewer than 16"],
  ["of no known role", [`shop:boss:${SECRET}`], "none of read, order, operate, admin"],
  ["in two parts", [`shop:${SECRET}`], "name:role:secret"],
  ["with an unfit name", [`cli shop:read:${SECRET}`], "name"],
  ["without a name", [`:read:${SECRET}`], "name"],
  ["with a blank in it", [`${SECRET} ${SECRET}`], "header"],
  ["twice with two roles", [`shop:read:${SECRET}1`, `shop:order:${SECRET}2`], "two roles"],
  ["twice with one secret", [`shop:read:${SECRET}`, `office:read:${SECRET}`], "the same bearer token"],
])("are refused when one is %s", (_, texts, message) => {
  let thrownMessage = "";
  try {
    readTokens(texts);
  } catch (thrown) {
    thrownMessage = (thrown as Error).message;
    expect(thrown).toMatchObject({ code: "bad_option", input: "tokens" });
  }
  expect(thrownMessage).toContain(message);
  expect(thrownMessage).not.toContain(SECRET);
});
