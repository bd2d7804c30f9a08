/**
 * What is kept of a refusal that quotes the order.
 */
import { describe, expect, it } from "vitest";
import { preparePick } from "../../../connectors/wms/payload.js";
import { withoutBuyer } from "../../../connectors/wms/redact.js";

const shipTo = {
  name: "张三丰",
  phone: "138 0013 8000",
  province: "浙江省",
  city: "杭州市",
  district: "西湖区",
  address: "文三路 90 号 3 幢\n602 室",
  note: 'leave at "the door"',
};
const { body } = preparePick({
  order: "WB2618000000000000000000",
  placedMs: 0,
  paidMs: 0,
  lines: [{ sku: "tea", location: "SH", units: 1 }],
  shipTo,
});
const clean = (text: string) => withoutBuyer(text, shipTo, body);

describe("a refusal", () => {
  it.each([
    ["receiver 张三丰 is not known", "receiver *** is not known"],
    ['{"phone":"138 0013 8000","code":"invalid_order"}', '{"phone":"***","code":"invalid_order"}'],
    ['{"note":"leave at \\"the door\\""}', '{"note":"***"}'],
    ["the address 文三路 90 号 3 幢\n602 室 has no codes", "the address *** has no codes"],
    ["the address 文三路 90 号", "the address ***"],
    ["HTTP 422: SKU tea is not known at SH", "HTTP 422: SKU tea is not known at SH"],
  ])("is kept without the buyer's words: %s", (reason, kept) => {
    expect(clean(reason)).toBe(kept);
  });

  it("is kept as it is for an order without a buyer", () => {
    const { receiver: _, address: __, ...bare } = body;
    expect(withoutBuyer("no such SKU", undefined, bare)).toBe("no such SKU");
  });
});
