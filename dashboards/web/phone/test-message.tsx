/**
 * Sends a test message by every channel of the person and shows how far each has come, once a second, for a minute at
 * most. It arrives as every other message does.
 */
import { useEffect, useState } from "preact/hooks";
import { get, post, RequestError } from "../desk/api.js";
import { FaultText } from "../desk/panel.js";
import { usePage } from "../page-context.js";
import type { Delivery } from "./alert-details.js";
import { DeliveryRow } from "./funnel.js";
import type { MeAnswer } from "./me.js";

const READ_EVERY_MS = 1_000;
const LONGEST_MS = 60_000;

/** `GET /v1/notification-tests/{testId}` */
interface TestAnswer {
  deliveries: readonly Delivery[];
}

export function TestMessage({ person }: { person: MeAnswer }) {
  const { text } = usePage();
  const [testId, setTestId] = useState<string>();
  const [deliveries, setDeliveries] = useState<readonly Delivery[]>([]);
  const [isRunning, setRunning] = useState(false);
  const [fault, setFault] = useState<RequestError>();
  const failed = (thrown: unknown) => {
    setRunning(false);
    setFault(thrown instanceof RequestError ? thrown : new RequestError(0, "", String(thrown)));
  };
  useEffect(() => {
    if (testId === undefined) return;
    const read = () =>
      get<TestAnswer>(`/v1/notification-tests/${encodeURIComponent(testId)}`).then((answer) => {
        setDeliveries(answer.deliveries);
        if (answer.deliveries.length > 0 && answer.deliveries.every(({ displayedAt }) => displayedAt !== undefined))
          stop();
      }, failed);
    const reading = setInterval(() => void read(), READ_EVERY_MS);
    const ending = setTimeout(() => stop(), LONGEST_MS);
    const stop = () => {
      clearInterval(reading);
      clearTimeout(ending);
      setRunning(false);
    };
    return stop;
  }, [testId]);
  const start = () => {
    setRunning(true);
    setFault(undefined);
    setDeliveries([]);
    post<{ testId: string }>("/v1/notification-tests", { to: `person:${person.id}` }).then(
      (answer) => setTestId(answer.testId),
      failed,
    );
  };
  return (
    <div class="test-message" data-testid="test-message">
      <button type="button" class="button wide" disabled={isRunning} onClick={start}>
        {text(isRunning ? "testing" : "testSend")}
      </button>
      <p class="quiet">{text("testNote")}</p>
      {fault !== undefined && (
        <p class="fault" role="alert">
          <FaultText error={fault} />
        </p>
      )}
      <ul class="funnel" aria-live="polite">
        {deliveries.map((each) => (
          <DeliveryRow key={`${each.channel} ${each.to}`} delivery={each} />
        ))}
      </ul>
    </div>
  );
}
