/**
 * What is accepted as a contact, as a host of a push service and as a subscription: each hostile form is refused with a
 * reason that names its place, and what browsers of the four vendors send is accepted.
 */
import { createECDH } from "node:crypto";
import { describe, expect, it } from "vitest";
import { pushHostPolicy } from "../../../connectors/web-push/push-hosts.js";
import {
  type PushSubscription,
  storedSubscription,
  subscriptionFaults,
} from "../../../connectors/web-push/subscription.js";
import { checkSubject, subjectFault } from "../../../connectors/web-push/vapid-subject.js";

const pair = createECDH("prime256v1");
pair.generateKeys();
const KEYS = { p256dh: pair.getPublicKey("base64url"), auth: Buffer.alloc(16, 7).toString("base64url") };
const VENDORS = [
  "https://fcm.googleapis.com/fcm/send/dXNlcg:APA91bHPRgkF3JUikC4ENAHEeMrd41Zxv3hVZjC9KtT8OvPVGJ-hQMRKRrZuJAEcl7B338qju59zJMjw2DELjzEvxwYv7hH5Ynpc1ODQ0aT4U4OFEeco8ohsN5PjL1iC2dNtk2BAokeMCg2ZXKqpc8FXKmhX94kIxQ",
  "https://fcm.googleapis.com/wp/abc",
  "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABd",
  "https://web.push.apple.com/QGuQyavXutnMH8Q",
  "https://wns2-par02p.notify.windows.com/w/?token=BQYAAAC%2f",
];

describe("the contact of the sender", () => {
  it.each(["mailto:ops@shop.com", "mailto:it.dept+push@mail.shop.cn", "https://shop.com/contact"])(
    "takes %s",
    (subject) => expect(subjectFault(subject)).toBeUndefined(),
  );

  it.each([
    ...["", "ops@shop.com", "mailto:", "mailto:ops", "mailto:ops@", "mailto:@shop.com", "mailto:a@b@shop.com"],
    ...["mailto: ops@shop.com", "mailto:ops@shop.com\n", "mailto:ops@shop", "mailto:ops@shop.com.", "MAILTO:"],
    ...["mailto:ops@localhost", "mailto:ops@a.localhost", "mailto:ops@x.invalid", "mailto:ops@nas.local"],
    ...["mailto:ops@shop.test", "mailto:ops@shop.example", "mailto:ops@10.0.0.1", "mailto:ops@[::1]"],
    ...["http://shop.com", "https://localhost", "https://127.0.0.1/x", "https://0x7f.1", "https://[::1]/"],
    ...[
      "https://u:p@shop.com",
      "https://shop.local/",
      "ftp://shop.com",
      "javascript:alert(1)",
      `https://${"a".repeat(300)}.com`,
    ],
  ])("refuses %j", (subject) => {
    expect(subjectFault(subject)).toBeTypeOf("string");
    expect(() => checkSubject(subject)).toThrow(/^bad option: --vapid-subject: /);
  });
});

describe("hosts of push services", () => {
  it.each(VENDORS)("allows %s", (endpoint) => expect(pushHostPolicy([])(new URL(endpoint))).toBe("vendor"));

  it.each([
    ...[
      "https://localhost/x",
      "https://127.0.0.1/x",
      "https://0x7f000001/x",
      "https://2130706433/x",
      "https://[::1]/x",
    ],
    ...["https://169.254.169.254/latest", "https://fcm.googleapis.com.evil.com/x", "https://evilfcm.googleapis.com/x"],
    ...["https://fcm.googleapis.com./x", "https://fcm.googleapis.com:8443/x", "https://push.apple.com/x"],
    ...["https://notify.windows.com/x", "https://xnotify.windows.com/x", "https://android.googleapis.com/gcm/send/x"],
  ])("refuses %s", (endpoint) => expect(pushHostPolicy([])(new URL(endpoint))).toBeUndefined());

  it("allows what the operator names, at that port only", () => {
    const policy = pushHostPolicy(["Push.Shop.com", "127.0.0.1:8443"]);
    const of = (endpoint: string) => policy(new URL(endpoint));
    expect(of("https://push.shop.com/x")).toBe("operator");
    expect(of("https://127.0.0.1:8443/x")).toBe("operator");
    expect(of("https://push.shop.com:8443/x")).toBeUndefined();
    expect(of("https://127.0.0.1/x")).toBeUndefined();
  });

  it.each(["", "https://push.shop.com", "push.shop.com/x", "push.shop.com:99999", "a b", "*.shop.com", "u@shop.com"])(
    "refuses the option %j",
    (host) => expect(() => pushHostPolicy([host])).toThrow(/^bad option: --push-hosts: /),
  );
});

describe("a subscription", () => {
  const [endpoint] = VENDORS as [string];
  const faultsOf = (changes: Partial<PushSubscription>) =>
    subscriptionFaults({ endpoint, keys: KEYS, ...changes }, pushHostPolicy([])).map(({ field }) => field);

  it("is accepted as a browser gives it, and read again as it was stored", () => {
    expect(faultsOf({})).toEqual([]);
    expect(storedSubscription(JSON.parse(JSON.stringify({ endpoint, keys: KEYS, expirationTime: null })))).toEqual({
      endpoint,
      keys: KEYS,
    });
    for (const address of [undefined, null, 7, "x", {}, { endpoint }, { endpoint, keys: { p256dh: 1 } }])
      expect(storedSubscription(address)).toBeUndefined();
  });

  it.each([
    ...["", "x", "http://fcm.googleapis.com/x", "https://u:p@fcm.googleapis.com/x", "https://fcm.googleapis.com/x#y"],
    ...[
      "https://fcm.googleapis.com\\@evil.com/",
      "https://fcm.goo\ngleapis.com/x",
      "https://evil.com\t/",
      "file:///etc",
    ],
    ...["https://ｆcm.googleapis.com/x", `https://fcm.googleapis.com/${"x".repeat(2_048)}`, "https://10.0.0.1/x"],
  ])("is refused with the address %j", (address) => expect(faultsOf({ endpoint: address })).toEqual(["endpoint"]));

  it("is refused with keys that are no key", () => {
    const offCurve = Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 1)]).toString("base64url");
    const compressed = pair.getPublicKey("base64url", "compressed");
    const padded = `${KEYS.p256dh}=`;
    for (const p256dh of ["", "x", offCurve, compressed, padded, `${KEYS.p256dh}AA`, KEYS.p256dh.replace(/.$/, "!")])
      expect(faultsOf({ keys: { ...KEYS, p256dh } }), p256dh).toEqual(["keys.p256dh"]);
    for (const auth of ["", "x", `${KEYS.auth}==`, Buffer.alloc(15).toString("base64url"), "A".repeat(10_000)])
      expect(faultsOf({ keys: { ...KEYS, auth } })).toEqual(["keys.auth"]);
  });
});
