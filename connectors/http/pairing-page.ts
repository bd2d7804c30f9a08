/**
 * The page for a browser without a session: it accepts a pairing code or a token and creates a session with a POST. The
 * code of a link follows the #, so it is neither sent with the page's request nor logged; the page removes it from the
 * address bar before it uses it. Chinese or English, as the browser prefers. It loads nothing else, and its content
 * security policy allows nothing else.
 */
import { createHash } from "node:crypto";

const STYLE = `
:root{ color-scheme:dark light;--ground:#07121d;--ink:#e8f1f8;--faint:#9db4c6;--line:#24405a;--field:#0d1f30;--accent:#4db8ff;--onaccent:#04121f;--bad:#ff9d8a}
@media (prefers-color-scheme:light){:root{--ground:#f2f5f8;--ink:#12263a;--faint:#4d6478;--line:#c3d0db;--field:#fff;--accent:#0a66c2;--onaccent:#fff;--bad:#a5281b}}
*{ box-sizing:border-box}
body{ margin:0;min-height:100vh;min-height:100dvh;display:grid;place-items:center;padding:24px;background:var(--ground);color:var(--ink);
font:16px/1.6 system-ui,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC","Noto Sans SC",sans-serif}
main{ width:100%;max-width:440px}
h1{ margin:0 0 4px;font-size:24px;line-height:1.3}
p{ margin:0 0 20px;color:var(--faint)}
label{ display:block;margin-bottom:6px;font-weight:600}
input{ width:100%;height:48px;padding:0 12px;border:1px solid var(--line);border-radius:8px;background:var(--field);color:inherit;font:inherit;
font-family:ui-monospace,Consolas,monospace}
button{ width:100%;height:48px;margin-top:12px;border:0;border-radius:8px;background:var(--accent);color:var(--onaccent);font:inherit;font-weight:600;cursor:pointer}
button:disabled{ opacity:.6;cursor:default}
input:focus-visible,button:focus-visible{ outline:3px solid var(--accent);outline-offset:2px}
#told{ min-height:26px;margin:12px 0 20px;color:var(--bad)}
small{ display:block;color:var(--faint)}
code{ font-family:ui-monospace,Consolas,monospace;overflow-wrap:anywhere}
`;

const SCRIPT = `
const zh = (navigator.languages[0] || "zh").toLowerCase().startsWith("zh");
document.documentElement.lang = zh ? "zh-CN" : "en";
for (const node of document.querySelectorAll("[data-en]")) if (!zh) node.textContent = node.dataset.en;
const say = (cn, en) => { told.textContent = zh ? cn : en; };
const form = document.querySelector("form"), field = document.querySelector("input"), button = document.querySelector("button"), told = document.getElementById("told");
// A person's link is opened on their phone.
const homeOf = ({ person }) => person === undefined ? "/" : "/phone";
const isCode = (text) => /^[0-9A-Za-z]{4}([ -]?[0-9A-Za-z]{4}){3}$/.test(text);
async function pair(text) {
  button.disabled = true;
  say("", "");
  try {
    const headers = { "content-type": "application/json" };
    if (!isCode(text)) headers.authorization = "Bearer " + text;
    const answer = await fetch("/v1/sessions", { method: "POST", headers, body: JSON.stringify(isCode(text) ? { code: text } : {}) });
    if (answer.status === 201) return location.replace(location.pathname === "/pair" ? homeOf(await answer.json()) : location.pathname);
    if (answer.status === 401) say("配对码或令牌不正确，或配对码已过期、已使用。", "The code or token is not valid, or the code has expired or was used.");
    else if (answer.status === 429) say("尝试次数过多，请稍后再试。", "Too many attempts. Try again later.");
    else say("暂时无法配对（" + answer.status + "），请稍后再试。", "Pairing is not possible at the moment (" + answer.status + "). Try again later.");
  } catch (fault) {
    if (fault instanceof TypeError && !isCode(text) && /[^\\x21-\\x7e]/.test(text)) say("令牌中有无效字符。", "The token has invalid characters.");
    else say("无法连接服务器。", "The server cannot be reached.");
  }
  button.disabled = false;
  field.focus();
}
form.addEventListener("submit", (event) => { event.preventDefault(); const text = field.value.trim(); if (text) pair(text); });
// Elsewhere the part after the # names what a page shows: it must not be sent as a token.
const code = location.pathname === "/pair" ? location.hash.slice(1) : "";
if (code) {
  history.replaceState(null, "", location.pathname);
  field.value = code;
  pair(code);
} else {
  field.focus();
  // A link from another site brings no cookie along; this page's own request does.
  fetch("/v1/sessions/current").then(async (answer) => {
    if (!answer.ok || sessionStorage.getItem("shuiwei.paired")) return sessionStorage.removeItem("shuiwei.paired");
    sessionStorage.setItem("shuiwei.paired", "1");
    location.replace(location.pathname === "/pair" ? homeOf(await answer.json()) : location.pathname);
  }).catch(() => {});
}
`;

const HTML = `<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="robots" content="noindex">
<title>水位 Shuiwei</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1 data-en="Pair this screen">配对此屏幕</h1>
<p data-en="Live stock is shown to paired browsers only. Enter a pairing code, or your access token.">实时库存只对已配对的浏览器开放。请输入配对码，或您的访问令牌。</p>
<form>
<label for="secret" data-en="Pairing code or token">配对码或令牌</label>
<input id="secret" name="secret" autocomplete="off" autocapitalize="off" autocorrect="off" spellcheck="false" maxlength="300" required>
<button data-en="Pair">配对</button>
<div id="told" role="alert"></div>
</form>
<small><span data-en="An operator makes a code, or a link to scan, with">配对码或二维码由管理员用此命令生成：</span> <code>shuiwei tokens pair</code></small>
</main>
<script>${SCRIPT}</script>
</body>
</html>
`;

const hashOf = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** The page and its headers, for any status. */
export const pairingPage = {
  html: HTML,
  headers: {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": `default-src 'none'; script-src ${hashOf(SCRIPT)}; style-src ${hashOf(STYLE)}; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
  },
} as const;
