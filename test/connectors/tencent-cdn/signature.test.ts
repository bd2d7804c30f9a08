/**
 * The signature of Tencent Cloud's API against the example of its document "Signature v3", and against the definition
 * for a request as the connector sends it.
 */
import { createHash, createHmac } from "node:crypto";
import { expect, it } from "vitest";
import { authorizationOf } from "../../../connectors/tencent-cdn/signature.js";

it("signs the request of the vendor's document as the document states", () => {
  // The value is written with escapes, as in the document.
  const body = String.raw`{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}`;
  const headers = { "content-type": "application/json; charset=utf-8", host: "cvm.tencentcloudapi.com" };
  const key = { secretId: "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", secretKey: "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE" };
  expect(authorizationOf({ service: "cvm", headers, body, timestamp: 1_551_113_065 }, key)).toBe(
    "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE/2019-02-25/cvm/tc3_request, " +
      "SignedHeaders=content-type;host, " +
      "Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168",
  );
});

it("signs the action in lower case with the key of the day and the service", () => {
  const body = '{"Urls":["https://shop.example/a"]}';
  const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
  const hmac = (key: string | Buffer, text: string) => createHmac("sha256", key).update(text).digest();
  const canonical = [
    ...["POST", "/", ""],
    "content-type:application/json; charset=utf-8",
    "host:cdn.tencentcloudapi.com",
    "x-tc-action:purgeurlscache",
    "",
    "content-type;host;x-tc-action",
    sha256(body),
  ].join("\n");
  const text = `TC3-HMAC-SHA256\n1781000000\n2026-06-09/cdn/tc3_request\n${sha256(canonical)}`;
  const key = hmac(hmac(hmac("TC3key", "2026-06-09"), "cdn"), "tc3_request");
  const headers = {
    "x-tc-action": "PurgeUrlsCache",
    host: "cdn.tencentcloudapi.com",
    "content-type": "application/json; charset=utf-8",
  };
  const parts = { service: "cdn", headers, body, timestamp: 1_781_000_000 };
  expect(authorizationOf(parts, { secretId: "id", secretKey: "key" }).slice(-64)).toBe(hmac(key, text).toString("hex"));
});
