import { Alert, Button } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useEffect, useRef } from "react";

import { useFleet } from "../live/fleet";
import styles from "./capture.module.css";
import { CheckStep } from "./check-step";
import { ChooseStep } from "./choose-step";
import { DetailsStep } from "./details-step";
import { PendingScreen } from "./pending-screen";
import { RecordingScreen } from "./recording-screen";
import { ResultScreen } from "./result-screen";
import { useCapture, type Step } from "./store";

const STEPS: { step: Step; label: string }[] = [
  { step: "choose", label: "Headsets" },
  { step: "details", label: "Details" },
  { step: "check", label: "Check" },
];

/** What the operator does, one thing at a time; the server's session decides where it stands. */
export function CapturePage() {
  const { session, finished, step } = useCapture();
  const loaded = useFleet((state) => state.loaded);
  const heading = useRef<HTMLHeadingElement>(null);
  const before = useRef(step);
  useEffect(() => {
    // The button that was pressed is gone: the keyboard goes on from the top of the new step.
    if (before.current !== step) heading.current?.focus();
    before.current = step;
  }, [step]);
  if (!loaded) return <h1>Capture</h1>;
  if (session?.status === "pending") return <Framed><PendingScreen session={session} /></Framed>;
  if (session !== null) return <Framed><RecordingScreen session={session} /></Framed>;
  if (finished !== null) return <Framed><ResultScreen finished={finished} /></Framed>;
  return (
    <Framed>
      <header className={styles.header}>
        <h1 ref={heading} tabIndex={-1}>Capture</h1>
        <ol className={styles.steps} aria-label="Steps">
          {STEPS.map(({ step: each, label }, index) => (
            <li key={each} aria-current={each === step ? "step" : undefined}>
              <span className={styles.number}>{index + 1}</span> {label}
            </li>
          ))}
        </ol>
      </header>
      {step === "choose" ? <ChooseStep /> : step === "details" ? <DetailsStep /> : <CheckStep />}
    </Framed>
  );
}

function Framed({ children }: { children: React.ReactNode }) {
  const problem = useCapture((state) => state.problem);
  return (
    <div className={styles.page}>
      {problem !== null && (
        <Alert color="red" icon={<IconAlertTriangle />} role="alert" mb="md">
          <div className={styles.problem}>
            <span>{problem}</span>
            <Button variant="default" onClick={() => useCapture.setState({ problem: null })}>
              OK
            </Button>
          </div>
        </Alert>
      )}
      {children}
    </div>
  );
}
