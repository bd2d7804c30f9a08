/**
 * The signature of Alibaba Cloud's API against the example of its document "Request syntax and signature method V3",
 * and against the definition for a request as the connector sends it.
 */
import { createHash, createHmac } from "node:crypto";
import { expect, it } from "vitest";
import { authorizationOf, hashOf } from "../../../connectors/aliyun-cdn/signature.js";

it("signs the request of the vendor's document as the document states", () => {
  const headers = {
    host: "ecs.cn-shanghai.aliyuncs.com",
    "x-acs-action": "RunInstances",
    "x-acs-content-sha256": hashOf(""),
    "x-acs-date": "2023-10-26T10:22:32Z",
    "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d",
    "x-acs-version": "2014-05-26",
  };
  const query = "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai";
  const key = { keyId: "YourAccessKeyId", secret: "YourAccessKeySecret" };
  expect(authorizationOf({ method: "POST", query, headers }, key)).toBe(
    "ACS3-HMAC-SHA256 Credential=YourAccessKeyId," +
      "SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version," +
      "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0",
  );
});

it("signs a form with its content type", () => {
  const body = "ObjectPath=https%3A%2F%2Fshop.example%2Fa&ObjectType=File";
  const bodyHash = createHash("sha256").update(body).digest("hex");
  const canonical = [
    ...["POST", "/", ""],
    "content-type:application/x-www-form-urlencoded",
    "host:cdn.aliyuncs.com",
    `x-acs-content-sha256:${bodyHash}`,
    "",
    "content-type;host;x-acs-content-sha256",
    bodyHash,
  ].join("\n");
  const text = `ACS3-HMAC-SHA256\n${createHash("sha256").update(canonical).digest("hex")}`;
  const headers = {
    "x-acs-content-sha256": bodyHash,
    host: "cdn.aliyuncs.com",
    "content-type": "application/x-www-form-urlencoded",
  };
  const authorization = authorizationOf({ method: "POST", query: "", headers }, { keyId: "id", secret: "s" });
  expect(authorization.slice(-64)).toBe(createHmac("sha256", "s").update(text).digest("hex"));
});
