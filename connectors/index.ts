/**
 * The table of connectors to outside systems. A new connector is a folder here and its line. Not in the table: the
 * HTTP API, which is the engine's own server; `csv`, `mapping` and `demo-shop`, which `shuiwei replay` and
 * `shuiwei demo` read without options of their own.
 */
import { alertmanagerConnector } from "./alertmanager/connector.js";
import { aliyunCdnConnector } from "./aliyun-cdn/connector.js";
import { channelsConnector } from "./channels/connector.js";
import { cloudflareConnector } from "./cloudflare/connector.js";
import type { Connector } from "./connector.js";
import { dingTalkConnector } from "./dingtalk/connector.js";
import { fastlyConnector } from "./fastly/connector.js";
import { feishuConnector } from "./feishu/connector.js";
import { objectsConnector } from "./objects/connector.js";
import { oracleEbsConnector } from "./oracle-ebs/connector.js";
import { purgesConnector } from "./purges/connector.js";
import { sourcesConnector } from "./sources/connector.js";
import { tencentCdnConnector } from "./tencent-cdn/connector.js";
import { timeSeriesConnector } from "./time-series/connector.js";
import { wangdianConnector } from "./wangdian/connector.js";
import { webPushConnector } from "./web-push/connector.js";
import { webhookConnector } from "./webhook/connector.js";
import { wecomConnector, wecomRobotConnector } from "./wecom/connector.js";
import { wmsConnector } from "./wms/connector.js";
import { youzanConnector } from "./youzan/connector.js";

export const CONNECTORS: readonly Connector[] = [
  wmsConnector,
  objectsConnector,
  timeSeriesConnector,
  sourcesConnector,
  wangdianConnector,
  youzanConnector,
  oracleEbsConnector,
  channelsConnector,
  dingTalkConnector,
  wecomConnector,
  wecomRobotConnector,
  feishuConnector,
  webPushConnector,
  webhookConnector,
  alertmanagerConnector,
  purgesConnector,
  cloudflareConnector,
  fastlyConnector,
  aliyunCdnConnector,
  tencentCdnConnector,
];
