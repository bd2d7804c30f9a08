/**
 * The QR code of a pairing link in a dialog, with the code to type beside it. It is made when the dialog opens; the
 * code is white on dark in no theme, because cameras read dark on white.
 */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { encode } from "uqr";
import { usePage } from "../page-context.js";
import { post, RequestError } from "./api.js";
import { FaultText } from "./panel.js";
import type { PersonAnswer } from "./people.js";

/** `POST /v1/people/{id}/pairings` */
interface PairingAnswer {
  code: string;
  link: string;
  validUntil: string;
}

export function PairPhone({ person, onClose }: { person: PersonAnswer; onClose: () => void }) {
  const { text, format } = usePage();
  const dialog = useRef<HTMLDialogElement>(null);
  const [pairing, setPairing] = useState<PairingAnswer>();
  const [fault, setFault] = useState<RequestError>();
  useLayoutEffect(() => dialog.current?.showModal(), []);
  useEffect(() => {
    post<PairingAnswer>(`/v1/people/${person.id}/pairings`, { label: "phone" }).then(setPairing, (thrown) =>
      setFault(thrown instanceof RequestError ? thrown : new RequestError(0, "", String(thrown))),
    );
  }, [person.id]);
  return (
    <dialog ref={dialog} class="desk-dialog pair-dialog" aria-labelledby="pair-title" onClose={onClose}>
      <h2 id="pair-title">{text("pairTitle", { name: person.name })}</h2>
      {fault !== undefined && (
        <p class="desk-note" data-tone="alarm" role="alert">
          <FaultText error={fault} />
        </p>
      )}
      {pairing !== undefined && (
        <>
          <QrCode content={pairing.link} />
          <p class="quiet">{text("pairNote", { time: format.minute(Date.parse(pairing.validUntil)) })}</p>
          <code>{pairing.code}</code>
        </>
      )}
      <div class="dialog-buttons">
        <button type="button" class="button" onClick={() => dialog.current?.close()}>
          {text("close")}
        </button>
      </div>
    </dialog>
  );
}

function QrCode({ content }: { content: string }) {
  const { size, path } = useMemo(() => {
    const { data, size } = encode(content, { ecc: "M", border: 2 });
    const path = data.flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : ""))).join("");
    return { size, path };
  }, [content]);
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={content} data-testid="qr">
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#07121d" />
    </svg>
  );
}
