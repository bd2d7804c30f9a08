/**
 * The goods of the demo shop: 2,000 SKUs in three warehouses, with bilingual names, a heavy-tailed popularity,
 * opening stock, safety stock and the promotions of 18 June. The same seed gives the same catalogue; nothing here
 * reads a clock or does I/O. Stock is sized in days of expected sales, so that it lasts on ordinary days, while some
 * promoted SKUs have too little on purpose and sell out in the rush. Names and figures are made up.
 */
import { assert } from "../../engine/kernel/errors.js";
import { type Random, seededRandom, shuffled } from "../../engine/kernel/random.js";

/** The three warehouses, and the share of buyers nearest to each. */
export const WAREHOUSES = [
  { location: "SHA", zh: "上海仓", en: "Shanghai", share: 0.45 },
  { location: "CAN", zh: "广州仓", en: "Guangzhou", share: 0.35 },
  { location: "CTU", zh: "成都仓", en: "Chengdu", share: 0.2 },
] as const;

/** Order lines of an average ordinary day. */
export const DAILY_LINES = 17_000;
/** Shares of order lines that ask for 1, 2 and 3 units. */
export const LINE_UNIT_SHARES = [0.82, 0.14, 0.04] as const;
/** 1 × 0.82 + 2 × 0.14 + 3 × 0.04. */
export const MEAN_LINE_UNITS = 1.22;

/** Zipf–Mandelbrot, 1 ÷ (rank + SHIFT)^EXPONENT: the shift keeps the first SKU near 2 % of all lines. */
const POPULARITY_SHIFT = 6;
const POPULARITY_EXPONENT = 0.95;
/** Entries of the popularity table; the least popular of 2,000 SKUs still has several. */
const POPULARITY_ENTRIES = 1 << 16;

/** A name in both languages of the shop. */
export interface Name {
  readonly zh: string;
  readonly en: string;
}

/** Stock of one SKU in one warehouse at the opening, in units. */
export interface DemoCell {
  readonly location: string;
  readonly sellableUnits: number;
  readonly safetyUnits: number;
  /** 0 for all but a few SKUs. */
  readonly presaleUnits: number;
}

/** One article of the demo shop. */
export interface DemoSku {
  readonly code: string;
  readonly name: Name;
  readonly category: Name;
  /** The category's id in the engine: the first part of the code. */
  readonly categoryId: string;
  /** 1 is the most popular. */
  readonly rank: number;
  /** Share of all ordinary order lines. */
  readonly share: number;
  /** Units expected to sell on an ordinary day. */
  readonly dailyUnits: number;
  /** Sellable units in all below which the morning's delivery fills the SKU up to its opening stock (after R7). */
  readonly reorderUnits: number;
  /** In the order of WAREHOUSES. */
  readonly cells: readonly DemoCell[];
}

/** A promotion of 18 June: demand for one SKU from a minute of the rush hour on, falling by e every `decayMinutes`. */
export interface Promotion {
  /** Index of the SKU in the catalogue. */
  readonly sku: number;
  readonly startMinute: number;
  readonly decayMinutes: number;
  /** At its start: of all order lines, or a fixed number of units a minute. One of the two is 0. */
  readonly lineShare: number;
  readonly unitsPerMinute: number;
}

/** All that the traffic is drawn from. */
export interface Catalogue {
  /** By code. */
  readonly skus: readonly DemoSku[];
  readonly promotions: readonly Promotion[];
  /** Indexes of SKUs, each as often as it is popular: a random entry is the SKU of a random order line. */
  readonly popularity: Uint16Array;
}

/**
 * Flash sales: [minute of the hour, share of all lines at its start, decay in minutes, stock as units]. Six have less
 * stock than the rush asks for.
 */
const FLASH_SALES = [
  [0, 0.15, 12, 620],
  [0, 0.12, 6, 2_200],
  [0, 0.1, 8, 2_000],
  [0, 0.09, 12, 450],
  [0, 0.07, 12, 560],
  [15, 0.24, 10, 260],
  [15, 0.14, 8, 800],
  [15, 0.07, 10, 550],
  [30, 0.24, 10, 240],
  [30, 0.14, 8, 750],
  [30, 0.08, 10, 550],
  [45, 0.26, 10, 220],
  [45, 0.16, 8, 700],
  [45, 0.09, 10, 500],
] as const;
/**
 * Small coupon deals: [minute at which one begins, stock as units]. Each causes an alert some five minutes later, at 50
 * units; those with the smaller stock sell out soon after.
 */
const COUPON_DEALS = [
  [3, 260],
  [6, 84],
  [9, 260],
  [18, 84],
  [21, 260],
  [25, 84],
  [33, 260],
  [37, 84],
  [41, 260],
  [48, 84],
  [51, 260],
] as const;
const COUPON_UNITS_PER_MINUTE = 12;
const COUPON_DECAY_MINUTES = 12;
/**
 * Daily units of SKUs taken for promotions: so slow on ordinary days that the rush is far above three daily averages.
 */
const FLASH_DAILY_UNITS = [14, 34] as const;
const COUPON_DAILY_UNITS = [5, 12] as const;

const PRESALE_SKUS = 24;

/**
 * Makes the catalogue of a seed.
 * @returns 2,000 SKUs (25 categories × 5 articles × 16 variants); equal for equal seeds
 */
export function makeCatalogue(seed: number): Catalogue {
  const random = seededRandom(seed ^ 0x5ca7a106);
  const articles = listArticles();
  const ranks = shuffled([...articles.keys()], random);
  const weights = ranks.map((rank) => (rank + 1 + POPULARITY_SHIFT) ** -POPULARITY_EXPONENT);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const shares = weights.map((weight) => weight / total);

  const stockOf = new Map<number, number>();
  const promotions = choosePromotions(shares, random, stockOf);
  const presale = new Set<number>();
  while (presale.size < PRESALE_SKUS) {
    const sku = random.below(articles.length);
    if (!stockOf.has(sku)) presale.add(sku);
  }

  const skus = articles.map((article, i): DemoSku => {
    const share = shares[i] as number;
    const dailyUnits = share * DAILY_LINES * MEAN_LINE_UNITS;
    const safetyUnits = dailyUnits * (0.4 + 0.4 * random.next());
    const promoted = stockOf.get(i);
    const coverDays = 6 + 9 * random.next();
    const cells = WAREHOUSES.map(
      (warehouse): DemoCell => ({
        location: warehouse.location,
        // A few units more than the share, so that the least popular SKU is in every warehouse.
        sellableUnits:
          Math.ceil((promoted ?? dailyUnits * coverDays) * warehouse.share) + (promoted === undefined ? 6 : 0),
        safetyUnits: Math.ceil(safetyUnits * warehouse.share) + 1,
        presaleUnits: presale.has(i) ? 20 * (2 + random.below(20)) : 0,
      }),
    );
    const openingUnits = cells.reduce((sum, cell) => sum + cell.sellableUnits, 0);
    const keptUnits = cells.reduce((sum, cell) => sum + cell.safetyUnits, 0);
    return {
      ...article,
      rank: (ranks[i] as number) + 1,
      share,
      dailyUnits,
      // SKUs to be promoted are filled up every morning; the others by R7.
      reorderUnits: promoted === undefined ? Math.ceil(1.8 * keptUnits + 3 * dailyUnits) : openingUnits,
      cells,
    };
  });
  return { skus, promotions, popularity: popularityTable(shares) };
}

function choosePromotions(shares: readonly number[], random: Random, stockOf: Map<number, number>): Promotion[] {
  const choose = ([fewest, most]: readonly [number, number], stockUnits: number): number => {
    for (;;) {
      const sku = random.below(shares.length);
      const dailyUnits = (shares[sku] as number) * DAILY_LINES * MEAN_LINE_UNITS;
      if (stockOf.has(sku) || dailyUnits < fewest || dailyUnits > most) continue;
      stockOf.set(sku, stockUnits);
      return sku;
    }
  };
  return [
    ...FLASH_SALES.map(([startMinute, lineShare, decayMinutes, stockUnits]) => ({
      sku: choose(FLASH_DAILY_UNITS, stockUnits),
      startMinute,
      decayMinutes,
      lineShare,
      unitsPerMinute: 0,
    })),
    ...COUPON_DEALS.map(([startMinute, stockUnits]) => ({
      sku: choose(COUPON_DAILY_UNITS, stockUnits),
      startMinute,
      decayMinutes: COUPON_DECAY_MINUTES,
      lineShare: 0,
      unitsPerMinute: COUPON_UNITS_PER_MINUTE,
    })),
  ];
}

function popularityTable(shares: readonly number[]): Uint16Array {
  const table = new Uint16Array(POPULARITY_ENTRIES);
  let slot = 0;
  let sum = 0;
  for (let i = 0; i < shares.length; i++) {
    sum += shares[i] as number;
    const end = i === shares.length - 1 ? POPULARITY_ENTRIES : Math.round(sum * POPULARITY_ENTRIES);
    table.fill(i, slot, end);
    slot = end;
  }
  return table;
}

/** Every article in every variant, by code: category, two digits for the article, two for the variant. */
function listArticles(): Pick<DemoSku, "code" | "name" | "category" | "categoryId">[] {
  const digits = (index: number) => String(index + 1).padStart(2, "0");
  const variantsOf = { colours: namesIn(COLOURS), flavours: namesIn(FLAVOURS) };
  const articles = CATEGORIES.trim()
    .split("\n")
    .flatMap((line) => {
      const [prefix = "", variants = "", ...names] = line.trim().split(" | ");
      const [category, ...kinds] = names.map(nameIn);
      assert(category && (variants === "colours" || variants === "flavours"), `"${line}" is a category`);
      return kinds.flatMap((kind, i) =>
        variantsOf[variants].map((variant, j) => ({
          code: `${prefix}-${digits(i)}${digits(j)}`,
          name: { zh: `${kind.zh} ${variant.zh}`, en: `${kind.en}, ${variant.en}` },
          category,
          categoryId: prefix,
        })),
      );
    });
  return articles.sort((a, b) => (a.code < b.code ? -1 : 1));
}

function nameIn(text: string): Name {
  const [zh = "", en = ""] = text.trim().split("/");
  return { zh, en };
}

const namesIn = (table: string): Name[] => table.split("|").map(nameIn);

// Tables of "Chinese/English", separated by bars.

const COLOURS = `
  象牙白/ivory | 墨黑/ink black | 雾霾蓝/haze blue | 海军蓝/navy | 薄荷绿/mint |
  橄榄绿/olive | 樱花粉/cherry pink | 珊瑚橙/coral | 姜黄/turmeric | 奶茶色/milk tea |
  咖啡色/coffee | 酒红/wine red | 香芋紫/taro purple | 银灰/silver grey | 石墨灰/graphite |
  卡其/khaki`;

const FLAVOURS = `
  原味/original | 茉莉/jasmine | 桂花/osmanthus | 乌龙/oolong | 抹茶/matcha |
  海盐/sea salt | 蜂蜜/honey | 柠檬/lemon | 白桃/white peach | 葡萄/grape |
  草莓/strawberry | 椰子/coconut | 可可/cocoa | 焦糖/caramel | 黑芝麻/black sesame |
  花生/peanut`;

/** One category per text line: prefix of its codes, kind of variants, its name, then its five articles. */
const CATEGORIES = `
  UMB | colours | 雨具/Rainwear | 直杆雨伞/Straight umbrella | 儿童雨衣/Children's raincoat | 折叠雨伞/Folding umbrella | 防晒伞/Parasol | 雨靴/Rain boots
  MUG | colours | 杯具/Drinkware | 陶瓷马克杯/Ceramic mug | 保温杯/Vacuum flask | 随行杯/Travel tumbler | 玻璃杯/Glass | 儿童水杯/Children's bottle
  TEA | flavours | 茶饮/Tea | 袋泡茶/Tea bags | 冷泡茶/Cold brew tea | 奶茶粉/Milk tea powder | 花草茶/Herbal tea | 茶礼盒/Tea gift box
  SNK | flavours | 零食/Snacks | 坚果罐/Nut tin | 曲奇/Cookies | 薯片/Crisps | 牛轧糖/Nougat | 米饼/Rice crackers
  BAG | colours | 箱包/Bags | 双肩包/Backpack | 托特包/Tote bag | 斜挎包/Crossbody bag | 登机箱/Cabin case | 洗漱包/Wash bag
  TEE | colours | 上装/Tops | 纯棉T恤/Cotton T-shirt | 防晒衣/Sun jacket | Polo衫/Polo shirt | 连帽卫衣/Hoodie | 针织开衫/Knit cardigan
  PNT | colours | 裤装/Trousers | 休闲裤/Chinos | 牛仔裤/Jeans | 运动短裤/Running shorts | 家居裤/Lounge trousers | 瑜伽裤/Leggings
  SHO | colours | 鞋/Shoes | 帆布鞋/Canvas shoes | 跑步鞋/Running shoes | 凉拖/Slides | 乐福鞋/Loafers | 棉拖鞋/Slippers
  SOX | colours | 袜品/Socks | 船袜五双/Ankle socks, 5 pairs | 中筒袜/Crew socks | 羊毛袜/Wool socks | 儿童袜/Children's socks | 运动袜/Sports socks
  BED | colours | 床品/Bedding | 四件套/Bed set | 夏凉被/Summer quilt | 乳胶枕/Latex pillow | 凉席/Cooling mat | 床笠/Fitted sheet
  TWL | colours | 毛巾/Towels | 浴巾/Bath towel | 毛巾三条/Hand towels, set of 3 | 干发帽/Hair towel | 方巾/Face cloth | 沙滩巾/Beach towel
  KIT | colours | 厨具/Kitchen | 不粘锅/Non-stick pan | 珐琅锅/Enamel pot | 砧板/Chopping board | 餐具套装/Cutlery set | 密封罐/Storage jar
  LMP | colours | 灯具/Lighting | 护眼台灯/Desk lamp | 小夜灯/Night light | 落地灯/Floor lamp | 露营灯/Camping lantern | 氛围灯/Mood light
  EAR | colours | 耳机/Headphones | 蓝牙耳机/Wireless earbuds | 头戴耳机/Over-ear headphones | 骨传导耳机/Bone conduction headset | 耳机套/Earbud case | 蓝牙音箱/Bluetooth speaker
  PHN | colours | 手机配件/Phone accessories | 手机壳/Phone case | 充电宝/Power bank | 快充头/Fast charger | 数据线/Charging cable | 手机支架/Phone stand
  KEY | colours | 电脑配件/Computer accessories | 机械键盘/Mechanical keyboard | 静音鼠标/Silent mouse | 鼠标垫/Desk mat | 笔记本包/Laptop sleeve | 扩展坞/USB hub
  TOY | colours | 玩具/Toys | 积木桶/Building blocks | 毛绒熊/Teddy bear | 遥控车/Remote control car | 拼图/Jigsaw puzzle | 泡泡机/Bubble machine
  PEN | colours | 文具/Stationery | 中性笔十支/Gel pens, 10 | 手账本/Journal | 文件夹/Folder | 荧光笔/Highlighters | 笔袋/Pencil case
  PET | colours | 宠物/Pets | 猫窝/Cat bed | 牵引绳/Dog lead | 饮水机/Pet fountain | 猫抓板/Cat scratcher | 外出包/Pet carrier
  OUT | colours | 户外/Outdoors | 折叠椅/Folding chair | 天幕/Tarp | 野餐垫/Picnic mat | 保温箱/Cool box | 登山杖/Trekking pole
  FIT | colours | 健身/Fitness | 瑜伽垫/Yoga mat | 弹力带/Resistance band | 哑铃一对/Dumbbells, pair | 跳绳/Skipping rope | 泡沫轴/Foam roller
  CAP | colours | 帽子/Hats | 棒球帽/Baseball cap | 渔夫帽/Bucket hat | 遮阳帽/Sun hat | 儿童帽/Children's hat | 空顶帽/Visor
  FAN | colours | 小家电/Small appliances | 手持风扇/Handheld fan | 桌面风扇/Desk fan | 加湿器/Humidifier | 电热水壶/Kettle | 榨汁杯/Portable blender
  ORG | colours | 收纳/Storage | 收纳箱/Storage box | 衣架十只/Hangers, 10 | 鞋盒/Shoe box | 抽屉分隔/Drawer divider | 压缩袋/Vacuum bags
  NUT | flavours | 冲饮/Instant drinks | 燕麦片/Oatmeal | 蛋白粉/Protein powder | 藕粉/Lotus root powder | 豆浆粉/Soy milk powder | 咖啡液/Coffee concentrate`;
