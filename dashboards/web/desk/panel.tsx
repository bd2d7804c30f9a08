/**
 * The parts that every panel of the desk is made of: a frame with a title, and what stands in it while its data is
 * loading, cannot be read, or is forbidden. Old data stays visible under a note.
 */
import type { ComponentChildren } from "preact";
import { usePage } from "../page-context.js";
import type { RequestError } from "./api.js";
import type { Resource } from "./use-resource.js";

interface PanelProps {
  name: string;
  title: string;
  note?: ComponentChildren;
  children: ComponentChildren;
}

export function Panel({ name, title, note, children }: PanelProps) {
  return (
    <section class={`panel desk-${name}`} aria-labelledby={`${name}-title`} data-testid={`desk-${name}`}>
      <div class="panel-head">
        <h2 id={`${name}-title`}>{title}</h2>
        {note !== undefined && <div class="panel-note">{note}</div>}
      </div>
      {children}
    </section>
  );
}

/** Why a request failed, in the page's language; the server's own sentence follows. */
export function FaultText({ error }: { error: RequestError }) {
  const { text } = usePage();
  const { status, message } = error;
  if (status === 401) return <>{text("faultNoSession")}</>;
  if (status === 403) return <>{text("faultNoPermission")}</>;
  if (status === 0) return <>{text("faultOffline")}</>;
  return <>{text("faultAnswer", { status: String(status), detail: message })}</>;
}

/** A note that data is old, above data that stays visible. */
export function OldNote({ error }: { error: RequestError | undefined }) {
  if (error === undefined) return null;
  return (
    <p class="desk-note" data-tone="warn" role="status">
      <FaultText error={error} />
    </p>
  );
}

/** Its children once there is an answer; before that, that it is loading, or why it cannot be shown. */
export function Loaded<Answer>({
  resource: { answer, error },
  children,
}: {
  resource: Resource<Answer>;
  children: (answer: Answer) => ComponentChildren;
}) {
  const { text } = usePage();
  if (answer !== undefined)
    return (
      <>
        <OldNote error={error} />
        {children(answer)}
      </>
    );
  if (error !== undefined)
    return (
      <div class="desk-empty" data-tone="warn" role="status">
        <FaultText error={error} />
      </div>
    );
  return (
    <div class="desk-empty desk-loading" role="status">
      {text("loading")}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="desk-empty" data-testid="desk-empty">
      <strong>{title}</strong>
      {children !== undefined && <div>{children}</div>}
    </div>
  );
}
