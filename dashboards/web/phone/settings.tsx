/** Settings. */
export function Settings(_: { isLive: boolean; onLanguage: () => void }) {
  return <p>…</p>;
}
