/** The product's logo: two waves in a gauge. Decoration only; its colours come from the style sheet. */
export function Logo({ class: name }: { class: string }) {
  return (
    <svg class={name} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" class="logo-back" />
      <path class="logo-far" d="M5 14c3.7-3 7.3-3 11 0s7.3 3 11 0v11a2 2 0 0 1-2 2H7a2 2 0 0 1-2-2z" />
      <path class="logo-near" d="M5 19c3.7-3 7.3-3 11 0s7.3 3 11 0v6a2 2 0 0 1-2 2H7a2 2 0 0 1-2-2z" />
    </svg>
  );
}
