import { Button } from "@mantine/core";
import { IconCircleCheckFilled, IconTrash } from "@tabler/icons-react";
import { useState } from "react";

import { call, problemOf } from "../http";
import { useFleet } from "../live/fleet";
import { clock } from "../ui/format";
import { HoldButton } from "../ui/hold-button";
import { SessionUploads } from "../uploads/session-uploads";
import styles from "./capture.module.css";
import { afterTake, takeWasDiscarded, useCapture, type Finished } from "./store";

/** The take is over and kept; only holding a button says otherwise. */
export function ResultScreen({ finished }: { finished: Finished }) {
  const devices = useFleet((state) => state.devices);
  const [busy, setBusy] = useState(false);
  const { details, discarded } = finished;
  const discard = async (): Promise<void> => {
    setBusy(true);
    try {
      await call("POST", `/api/sessions/${finished.sessionId}/discard`);
      takeWasDiscarded();
    } catch (error) {
      useCapture.setState({ problem: problemOf(error) });
    }
    setBusy(false);
  };
  return (
    <section className={styles.decision} aria-labelledby="result">
      <h1 id="result">
        Take {details.take} {discarded ? "discarded" : "complete"}
      </h1>
      {discarded ? (
        <p role="status">
          <IconTrash aria-hidden /> It is marked as discarded; the next take has its number.
        </p>
      ) : (
        <p role="status" className={styles.kept}>
          <IconCircleCheckFilled aria-hidden /> Kept
        </p>
      )}
      <dl className={styles.facts}>
        <dt>Recorded</dt>
        <dd>{clock(finished.recordedMs)}</dd>
        <dt>{finished.deviceIds.length === 1 ? "Headset" : "Headsets"}</dt>
        <dd>{finished.deviceIds.map((id) => devices[id]?.customName ?? id).join(", ")}</dd>
        <dt>Participant</dt>
        <dd>{details.participant}</dd>
        <dt>Task</dt>
        <dd>{details.task}</dd>
      </dl>
      <div className={styles.actions}>
        <Button size="xl" disabled={busy} onClick={() => afterTake("again")}>
          {discarded ? "Record it again" : "Next take"}
        </Button>
        <Button size="xl" variant="default" disabled={busy} onClick={() => afterTake("done")}>
          Done
        </Button>
        {/* Above what grows, so that it does not slip away under the finger that holds it. */}
        {!discarded && (
          <span className={styles.apart}>
            <HoldButton disabled={busy} onHeld={() => void discard()}>
              <IconTrash aria-hidden /> Hold to discard
            </HoldButton>
          </span>
        )}
      </div>
      {!discarded && <SessionUploads sessionId={finished.sessionId} />}
    </section>
  );
}
