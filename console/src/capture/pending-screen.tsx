import { Button } from "@mantine/core";
import { IconPlayerRecordFilled } from "@tabler/icons-react";

import { useFleet } from "../live/fleet";
import { plural } from "../ui/format";
import styles from "./capture.module.css";
import { endSession, startSession, useCapture, type Session } from "./store";

/** The session exists and does not record yet: somebody was faster with a headset, or the start got lost. */
export function PendingScreen({ session }: { session: Session }) {
  const { unavailable, busy } = useCapture();
  const devices = useFleet((state) => state.devices);
  const all = session.deviceIds.length + unavailable.length;
  const nameOf = (id: string): string => devices[id]?.customName ?? id;
  return (
    <section className={styles.decision} aria-labelledby="pending">
      <h1 id="pending">{unavailable.length > 0 ? "Not every headset is free" : "Ready to record"}</h1>
      {unavailable.length > 0 && (
        <p role="alert">
          {unavailable.map(nameOf).join(", ")} {unavailable.length === 1 ? "was" : "were"} taken by somebody else or
          went offline.
        </p>
      )}
      <p>{session.deviceIds.map(nameOf).join(", ")}</p>
      <div className={styles.actions}>
        <Button
          size="xl"
          color="red"
          loading={busy}
          leftSection={<IconPlayerRecordFilled aria-hidden />}
          onClick={startSession}
        >
          {unavailable.length > 0
            ? `Go on with ${session.deviceIds.length} of ${all}`
            : `Start ${plural(session.deviceIds.length, "headset")}`}
        </Button>
        <Button size="xl" variant="default" disabled={busy} onClick={endSession}>
          Cancel
        </Button>
      </div>
    </section>
  );
}
