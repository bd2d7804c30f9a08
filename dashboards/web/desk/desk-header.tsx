/** The top of the desk: the two pages, the shop's time, the state of the connection, who is signed in, the language. */
import { ConnectionState, LanguageButton, ShopTime } from "../header.js";
import type { LiveState } from "../live-connection.js";
import { Logo } from "../logo.js";
import { usePage } from "../page-context.js";
import type { ShopModel } from "../shop-model.js";
import type { Caller } from "./contracts.js";

interface DeskHeaderProps {
  state: LiveState<ShopModel>;
  caller: Caller | undefined;
  onLanguage: () => void;
}

export function DeskHeader({ state, caller, onLanguage }: DeskHeaderProps) {
  const { text } = usePage();
  return (
    <header class="desk-header">
      <div class="brand">
        <Logo class="logo" />
        <h1>{text("product")}</h1>
      </div>
      <nav class="pages" aria-label={text("pages")}>
        <a href="/">{text("wall")}</a>
        <a href="/desk" aria-current="page">
          {text("desk")}
        </a>
      </nav>
      <ShopTime state={state} />
      <div class="controls">
        {caller !== undefined && (
          <span class="caller" title={text("callerRole", { role: caller.role })}>
            {caller.name}
          </span>
        )}
        <ConnectionState phase={state.phase} />
        <LanguageButton onLanguage={onLanguage} />
      </div>
    </header>
  );
}
