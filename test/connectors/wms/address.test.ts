/**
 * Addresses as buyers write them: the table says which codes each one has, or that it has none. Every district of the
 * standard comes back by its own name, full and short. What is not certain must come out as unresolved: a
 * wrong code sends a parcel to the wrong town.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AddressInput, parseAddress } from "../../../connectors/wms/address.js";
import { type Division, divisions } from "../../../connectors/wms/divisions.js";

/** `province/city/district house number|rest`, or `?` when unresolved. */
function summaryOf(input: AddressInput | string): string {
  const parsed = parseAddress(typeof input === "string" ? { text: input } : input);
  if (parsed.state === "unresolved") return "?";
  const { province, city, district } = parsed.codes;
  const codes = [province, city, district].filter((code) => code !== undefined).join("/");
  return `${codes} ${parsed.houseNumber}${parsed.rest === "" ? "" : `|${parsed.rest}`}`;
}

const WEST_LAKE = "330000/330100/330106";

describe("an address in one text", () => {
  it.each([
    // Whole ones.
    ["浙江省杭州市西湖区文三路123号", `${WEST_LAKE} 文三路123号`],
    [
      "广东省深圳市南山区科技园南区深南大道9996号松日鼎盛大厦16层",
      "440000/440300/440305 科技园南区深南大道9996号松日鼎盛大厦16层",
    ],
    [
      "四川省成都市武侯区天府大道北段1480号拉·德方斯大厦西楼13A",
      "510000/510100/510107 天府大道北段1480号拉·德方斯大厦西楼13A",
    ],
    [
      "湖北省武汉市洪山区珞喻路1037号华中科技大学韵苑学生公寓12栋404",
      "420000/420100/420111 珞喻路1037号华中科技大学韵苑学生公寓12栋404",
    ],
    ["陕西省西安市长安区西长安街620号", "610000/610100/610116 西长安街620号"],
    ["福建省厦门市思明区软件园二期望海路59号之三", "350000/350200/350203 软件园二期望海路59号之三"],
    ["山东省青岛市市南区香港中路10号", "370000/370200/370202 香港中路10号"],
    ["山西省晋城市城区红星东街88号", "140000/140500/140502 红星东街88号"],
    ["河北省保定市雄县容城镇板正大街1号", "130000/130600/130638 容城镇板正大街1号"],
    // Municipalities: the city is named once, twice, or as 市辖区.
    ["北京市朝阳区建国路88号SOHO现代城A座1201", "110000/110100/110105 建国路88号SOHO现代城A座1201"],
    ["北京市北京市海淀区中关村大街27号", "110000/110100/110108 中关村大街27号"],
    ["北京市市辖区东城区东长安街1号", "110000/110100/110101 东长安街1号"],
    ["上海浦东新区世纪大道100号环球金融中心", "310000/310100/310115 世纪大道100号环球金融中心"],
    ["上海浦东张江镇丹桂路1号", "310000/310100/310115 张江镇丹桂路1号"],
    ["天津市河西区友谊路5号", "120000/120100/120103 友谊路5号"],
    ["天津滨海新区新港二号路1号", "120000/120100/120116 新港二号路1号"],
    ["重庆市渝中区解放碑民权路2号", "500000/500100/500103 解放碑民权路2号"],
    ["重庆市重庆市江北区观音桥步行街1号", "500000/500100/500105 观音桥步行街1号"],
    ["重庆市 县 彭水苗族土家族自治县汉葭街道1号", "500000/500200/500243 汉葭街道1号"],
    // Autonomous regions, prefectures, leagues, banners, in full and as people call them.
    ["广西壮族自治区南宁市青秀区民族大道131号", "450000/450100/450103 民族大道131号"],
    ["广西南宁市青秀区民族大道131号", "450000/450100/450103 民族大道131号"],
    ["内蒙古自治区锡林郭勒盟锡林浩特市团结大街1号", "150000/152500/152502 团结大街1号"],
    ["内蒙古呼和浩特市新城区新华东街1号", "150000/150100/150102 新华东街1号"],
    ["内蒙呼伦贝尔鄂伦春自治旗阿里河镇1号", "150000/150700/150723 阿里河镇1号"],
    ["内蒙古鄂温克旗巴彦托海镇1号", "150000/150700/150724 巴彦托海镇1号"],
    ["宁夏银川市兴庆区解放东街1号", "640000/640100/640104 解放东街1号"],
    ["新疆维吾尔自治区乌鲁木齐市天山区中山路1号", "650000/650100/650102 中山路1号"],
    ["新疆伊犁州伊宁市解放西路1号", "650000/654000/654002 解放西路1号"],
    ["西藏自治区拉萨市城关区北京中路35号", "540000/540100/540102 北京中路35号"],
    ["湖北恩施土家族苗族自治州恩施市航空大道1号", "420000/422800/422801 航空大道1号"],
    ["湖北省恩施州恩施市航空大道1号", "420000/422800/422801 航空大道1号"],
    ["吉林省延边州延吉市光明街1号", "220000/222400/222401 光明街1号"],
    ["甘肃省临夏回族自治州东乡族自治县锁南镇1号", "620000/622900/622926 锁南镇1号"],
    ["云南省大理白族自治州大理市人民路1号", "530000/532900/532901 人民路1号"],
    ["云南大理州大理市人民路1号", "530000/532900/532901 人民路1号"],
    ["黑龙江省大兴安岭地区漠河市北极镇1号", "230000/232700/232701 北极镇1号"],
    ["青海省海南藏族自治州共和县恰卜恰镇1号", "630000/632500/632521 恰卜恰镇1号"],
    // County-level cities directly under a province.
    ["湖北省仙桃市沔阳大道1号", "420000/429000/429004 沔阳大道1号"],
    ["湖北省省直辖县级行政区划仙桃市沔阳大道1号", "420000/429000/429004 沔阳大道1号"],
    ["河南省济源市黄河大道1号", "410000/419000/419001 黄河大道1号"],
    ["海南省文昌市文城镇1号", "460000/469000/469005 文城镇1号"],
    ["新疆石河子市北三路1号", "650000/659000/659001 北三路1号"],
    // Cities without districts.
    ["广东省东莞市南城街道鸿福路200号", "440000/441900 南城街道鸿福路200号"],
    ["广东东莞长安镇锦厦路1号", "440000/441900 长安镇锦厦路1号"],
    ["东莞市东城区东纵路208号", "440000/441900 东城区东纵路208号"],
    ["广东省中山市小榄镇升平中路1号", "440000/442000 小榄镇升平中路1号"],
    ["海南省儋州市那大镇中兴大街1号", "460000/460400 那大镇中兴大街1号"],
    ["甘肃省嘉峪关市新华中路1号", "620000/620200 新华中路1号"],
    // Where the standard ends at the province.
    ["香港特别行政区中环皇后大道中1号", "810000 中环皇后大道中1号"],
    ["澳门特别行政区新口岸宋玉生广场1号", "820000 新口岸宋玉生广场1号"],
    ["台湾省台北市中正区1号", "710000 台北市中正区1号"],
    // Endings left out.
    ["浙江杭州西湖区文三路1号", `${WEST_LAKE} 文三路1号`],
    ["浙江 杭州 西湖区 文三路1号", `${WEST_LAKE} 文三路1号`],
    ["江苏昆山前进中路1号", "320000/320500/320583 前进中路1号"],
    ["江苏苏州昆山玉山镇1号", "320000/320500/320583 玉山镇1号"],
    ["浙江义乌稠城街道1号", "330000/330700/330782 稠城街道1号"],
    ["福建 泉州 晋江 青阳1号", "350000/350500/350582 青阳1号"],
    // A province or a city left out, where one is enough.
    ["杭州市西湖区文三路1号", `${WEST_LAKE} 文三路1号`],
    ["杭州西湖区文三路1号", `${WEST_LAKE} 文三路1号`],
    ["昆山市前进中路1号", "320000/320500/320583 前进中路1号"],
    ["余杭区文一西路969号", "330000/330100/330110 文一西路969号"],
    ["福建鼓楼区五四路1号", "350000/350100/350102 五四路1号"],
    ["吉林朝阳区人民大街1号", "220000/220100/220104 人民大街1号"],
    ["吉林市昌邑区吉林大街1号", "220000/220200/220202 吉林大街1号"],
    ["长沙县星沙街道1号", "430000/430100/430121 星沙街道1号"],
    // Blanks, signs, full-width digits, what stands before.
    ["浙江省，杭州市，西湖区，文三路１２３号", `${WEST_LAKE} 文三路123号`],
    ["浙江省-杭州市-西湖区-文三路123号", `${WEST_LAKE} 文三路123号`],
    ["　浙江省　杭州市　西湖区　文三路　１２３号　", `${WEST_LAKE} 文三路 123号`],
    ["310012 浙江省杭州市西湖区文三路1号", `${WEST_LAKE} 文三路1号`],
    ["收货地址：中国浙江省杭州市西湖区文三路1号", `${WEST_LAKE} 文三路1号`],
    ["浙江省\n杭州市\t西湖区\r\n文三路1号", `${WEST_LAKE} 文三路1号`],
    // Names that come twice.
    ["浙江省杭州市浙江省杭州市西湖区文三路1号", `${WEST_LAKE} 文三路1号`],
    ["浙江省杭州市西湖区浙江省杭州市西湖区文三路1号", `${WEST_LAKE} 文三路1号`],
    ["浙江省杭州市西湖区 浙江省杭州市 文三路1号", `${WEST_LAKE} 文三路1号`],
    ["杭州市浙江省杭州市西湖区文三路1号", `${WEST_LAKE} 文三路1号`],
    ["上海市黄浦区上海市第一人民医院", "310000/310100/310101 上海市第一人民医院"],
    ["吉林省吉林市昌邑区吉林大街1号", "220000/220200/220202 吉林大街1号"],
    // Remarks are not part of the street.
    [
      "浙江省杭州市西湖区文三路123号2幢1单元301室（东门进，放快递柜）",
      `${WEST_LAKE} 文三路123号2幢1单元301室|(东门进,放快递柜)`,
    ],
    ["浙江省杭州市西湖区文三路123号，2幢301室，白天请打电话", `${WEST_LAKE} 文三路123号,2幢301室|,白天请打电话`],
    ["浙江省杭州市西湖区文三路123号 张三 13800001111", `${WEST_LAKE} 文三路123号|张三 13800001111`],
    ["浙江省杭州市西湖区转塘街道（近美院南门）象山路3-2-501", `${WEST_LAKE} 转塘街道(近美院南门)象山路3-2-501`],
  ])("%s", (text, expected) => expect(summaryOf(text)).toBe(expected));

  it.each([
    ["nothing", ""],
    ["no division", "文三路123号"],
    ["a foreign country", "1 Infinite Loop, Cupertino"],
    ["a province only", "浙江省文三路1号"],
    ["a city only", "浙江省杭州市文三路1号"],
    ["no street", "浙江省杭州市西湖区"],
    ["a name that two cities have", "朝阳区建国路88号"],
    ["a name that two cities of the province have", "江苏鼓楼区中山北路1号"],
    ["a name of many towns' parts", "西区3号楼"],
    ["a street that is called like a city", "中山路1号"],
    ["a street that is called like a city, numbered", "中山北一路1号"],
    ["a street that is called like a region", "香港中路1号"],
    ["a street that is called like a district", "杭州西湖大道1号"],
    ["a street that is called like another city", "上海南京西路1号"],
    ["a street that is called like a new area", "上海浦东南路1号"],
    ["a street that is called like a county-level city", "江苏苏州昆山路1号"],
    ["a hotel that is called like a county-level city", "江苏苏州昆山花园酒店"],
    ["a hall that is called like a city", "广东中山纪念堂路1号"],
    ["a square that is called like a district", "杭州西湖文化广场19号"],
    ["a district that no longer exists", "浙江省杭州市下城区庆春路1号"],
    ["a development zone", "江苏省苏州市工业园区星湖街1号"],
    ["a district of another city", "浙江省杭州市玄武区1号"],
    ["two provinces", "浙江省江苏省南京市玄武区中山路1号"],
  ])("is not guessed from %s", (_, text) => {
    expect(parseAddress({ text })).toEqual({ state: "unresolved", codes: undefined, reason: expect.any(String) });
  });
});

describe("an address in fields", () => {
  const inWestLake = { province: "浙江省", city: "杭州市", district: "西湖区" };

  it.each([
    ["full names", { ...inWestLake, text: "文三路1号" }, `${WEST_LAKE} 文三路1号`],
    ["short names", { province: "浙江", city: "杭州", district: "西湖", text: "文三路1号" }, `${WEST_LAKE} 文三路1号`],
    ["codes", { province: "330000", city: "330100", district: "330106", text: "文三路1号" }, `${WEST_LAKE} 文三路1号`],
    ["a district only", { district: "余杭区", text: "文一西路1号" }, "330000/330100/330110 文一西路1号"],
    ["names that the text repeats", { ...inWestLake, text: "浙江省杭州市西湖区文三路1号" }, `${WEST_LAKE} 文三路1号`],
    ["names that the text repeats in part", { ...inWestLake, text: "浙江省杭州市文三路1号" }, `${WEST_LAKE} 文三路1号`],
    [
      "a city that the text goes on from",
      { province: "浙江", city: "杭州", text: "西湖区文三路1号" },
      `${WEST_LAKE} 文三路1号`,
    ],
    [
      "no city's district",
      { province: "浙江", city: "杭州", district: "高新区", text: "滨江区江南大道1号" },
      "330000/330100/330108 江南大道1号",
    ],
    [
      "a municipality as province and city",
      { province: "北京", city: "北京市", district: "朝阳区", text: "建国路1号" },
      "110000/110100/110105 建国路1号",
    ],
    [
      "a municipality's district as city",
      { province: "北京", city: "朝阳区", district: "三环到四环之间", text: "建国路1号" },
      "110000/110100/110105 建国路1号",
    ],
    [
      "市辖区 as city",
      { province: "北京市", city: "市辖区", district: "朝阳区", text: "建国路1号" },
      "110000/110100/110105 建国路1号",
    ],
    [
      "a county-level city as city",
      { province: "湖北", city: "仙桃市", district: "城区", text: "干河街道1号" },
      "420000/429000/429004 干河街道1号",
    ],
    [
      "the group under the province as city",
      { province: "湖北省", city: "省直辖县级行政区划", district: "仙桃市", text: "干河街道1号" },
      "420000/429000/429004 干河街道1号",
    ],
    [
      "a city without districts",
      { province: "广东", city: "东莞市", district: "南城区", text: "鸿福路1号" },
      "440000/441900 鸿福路1号",
    ],
    [
      "a county-level city without its ending",
      { province: "江苏省", city: "苏州市", district: "昆山", text: "玉山镇1号" },
      "320000/320500/320583 玉山镇1号",
    ],
    [
      "a name that needs its city",
      { province: "四川", city: "攀枝花", district: "东区", text: "大渡口街1号" },
      "510000/510400/510402 大渡口街1号",
    ],
    [
      "blank ones",
      { province: " ", city: "", district: "", text: "浙江省杭州市西湖区文三路1号" },
      `${WEST_LAKE} 文三路1号`,
    ],
  ])("is found from %s", (_, input, expected) => expect(summaryOf(input)).toBe(expected));

  it.each([
    ["another district in the text", { ...inWestLake, text: "浙江省杭州市余杭区文一西路1号" }],
    ["another city in the text", { province: "浙江", city: "杭州", text: "江苏省南京市玄武区1号" }],
    ["a city of another province", { province: "江苏", city: "杭州", district: "西湖区", text: "文三路1号" }],
    ["a province that is none", { province: "California", city: "杭州", district: "西湖区", text: "1号" }],
    ["a district that two cities have", { district: "西湖区", text: "文三路1号" }],
    ["no street", { ...inWestLake, text: "" }],
  ])("is not guessed from %s", (_, input) => expect(summaryOf(input)).toBe("?"));
});

describe("every district", () => {
  const leaves = [...divisions()].filter((division) => division.isLeaf);
  const chainOf = (leaf: Division): Division[] => (leaf.parent ? [...chainOf(leaf.parent), leaf] : [leaf]);
  const isWritten = ({ name }: Division) => !/^县$|直辖县级/.test(name);

  it("is in a list of the current size", () => {
    expect(leaves.length).toBeGreaterThan(2_800);
    expect([...divisions()].filter(({ level }) => level === "province")).toHaveLength(34);
  });

  it("is found by its full name", () => {
    const wrong = leaves
      .map(
        (leaf) =>
          [
            `${chainOf(leaf)
              .filter(isWritten)
              .map(({ name }) => name)
              .join("")}人民路1号`,
            leaf,
          ] as const,
      )
      .filter(
        ([text, leaf]) =>
          summaryOf(text) !==
          `${chainOf(leaf)
            .map(({ code }) => code)
            .join("/")} 人民路1号`,
      );
    expect(wrong.map(([text]) => text)).toEqual([]);
  });

  it("is found from fields", () => {
    const wrong = leaves.filter((leaf) => {
      const fields = Object.fromEntries(chainOf(leaf).map(({ level, name }) => [level, name]));
      return (
        summaryOf({ ...fields, text: "人民路1号" }) !==
        `${chainOf(leaf)
          .map(({ code }) => code)
          .join("/")} 人民路1号`
      );
    });
    expect(wrong.map(({ code, name }) => code + name)).toEqual([]);
  });

  it("is found without 省 and 市 before it, or is unresolved, but is never another district", () => {
    const wrong: string[] = [];
    let resolved = 0;
    for (const leaf of leaves) {
      const chain = chainOf(leaf).filter(isWritten);
      const text = chain.map(({ name }, i) => (i < chain.length - 1 ? name.replace(/[省市]$/, "") : name)).join("");
      const parsed = parseAddress({ text: `${text}人民路1号` });
      if (parsed.state === "unresolved") continue;
      resolved++;
      if (Object.values(parsed.codes).at(-1) !== leaf.code) wrong.push(text);
    }
    expect(wrong).toEqual([]);
    expect(resolved / leaves.length).toBeGreaterThan(0.99);
  });
});

describe("any text", () => {
  const names = [...divisions()].map(({ name }) => name);
  const part = fc.oneof(
    fc.constantFrom(...names),
    fc.string({ unit: "grapheme" }),
    fc.constantFrom("文三路", "1号", " ", "，", "（"),
  );

  it("gives well-formed parts of limited length, and the same ones each time", () => {
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), fc.integer({ min: 1, max: 80 }), (parts, max) => {
        const parsed = parseAddress({ text: parts.join("") }, max);
        expect(parseAddress({ text: parts.join("") }, max)).toEqual(parsed);
        if (parsed.state === "unresolved") return;
        expect([...parsed.houseNumber].length).toBeLessThanOrEqual(max);
        expect(parsed.houseNumber).not.toBe("");
        expect(`${parsed.houseNumber}${parsed.rest}`).not.toMatch(/[\p{Cc}\p{Cs}]/u);
      }),
      { numRuns: 200 },
    );
  });

  it("is cut at a door number, not in a name, and never within a character", () => {
    const long = parseAddress({ text: `浙江省杭州市西湖区文三路123号${"很长的说明".repeat(100)}9号` }, 20);
    expect(long).toMatchObject({ houseNumber: "文三路123号" });
    const plain = parseAddress({ text: `浙江省杭州市西湖区${"𠮷".repeat(100)}` });
    expect(plain).toMatchObject({ houseNumber: "𠮷".repeat(80), rest: "𠮷".repeat(20) });
  });

  it.each([
    ["names", "北京市".repeat(700)],
    ["digits", `浙江省杭州市西湖区${"1".repeat(2_000)}`],
    ["signs that become many", `浙江省杭州市西湖区${"\ufdfa".repeat(2_000)}`],
    ["blanks and signs", ` ,-.`.repeat(500)],
  ])("may be long with %s", (_, text) => {
    // A search that went wrong would take minutes and end in the test's time limit.
    for (let i = 0; i < 20; i++) parseAddress({ text });
  });
});
