import { Button } from "@mantine/core";
import {
  IconAlertTriangleFilled,
  IconCircleCheckFilled,
  IconPlayerPauseFilled,
  IconPlayerRecordFilled,
  IconPlayerStopFilled,
  IconXboxXFilled,
} from "@tabler/icons-react";

import { Battery, Storage } from "../fleet/metrics";
import { useRows, type Row } from "../fleet/use-rows";
import { useFleet } from "../live/fleet";
import { useNow } from "../live/now";
import { clock } from "../ui/format";
import { Preview } from "../ui/preview";
import styles from "./capture.module.css";
import { integrityOf, type Integrity } from "./integrity";
import { useStayAwake } from "./stay-awake";
import { endSession, pauseSession, recordedMs, retry, startSession, useCapture, type Session } from "./store";

interface Part {
  id: string;
  name: string;
  row: Row | undefined;
  integrity: Integrity;
}

function useParts(session: Session): Part[] {
  const rows = useRows();
  const skewMs = useFleet((state) => state.skewMs);
  const now = useNow();
  const { timing, baselines } = useCapture();
  const wanted = session.status === "paused" ? "paused" : "recording";
  return session.deviceIds.map((id) => {
    const row = rows.find(({ device }) => device.deviceId === id);
    const ageMs = row === undefined ? 0 : Math.max(0, now - skewMs - Date.parse(row.device.lastSeen));
    const sinceMs = now - (timing?.changedAt ?? 0);
    const integrity = integrityOf(row?.device, wanted, sinceMs, ageMs, baselines[id]);
    return { id, name: row?.device.customName ?? id, row, integrity };
  });
}

export function RecordingScreen({ session }: { session: Session }) {
  useStayAwake();
  const parts = useParts(session);
  const { timing, busy } = useCapture();
  const now = useNow();
  const paused = session.status === "paused";
  return (
    <>
      <header className={styles.recHead} data-paused={paused}>
        <div className={styles.state}>
          {paused ? <IconPlayerPauseFilled aria-hidden /> : <IconPlayerRecordFilled aria-hidden />}
          <span role="status">{paused ? "Paused" : "Recording"}</span>
        </div>
        <div className={styles.timer} role="timer" aria-label="Recorded time">
          {clock(recordedMs(timing, now))}
        </div>
        <div className={styles.what}>
          <strong>Take {session.details.take}</strong>
          <span>
            {session.details.participant}, {session.details.task}
          </span>
        </div>
      </header>
      <Failures session={session} parts={parts} />
      <ul className={styles.live}>
        {parts.map((part) => (
          <LiveCard key={part.id} part={part} />
        ))}
      </ul>
      <footer className={styles.footer} data-recording>
        {paused ? (
          <Button size="xl" variant="default" className={styles.pause ?? ""} loading={busy} onClick={startSession}
            leftSection={<IconPlayerRecordFilled aria-hidden />}>
            Resume
          </Button>
        ) : (
          <Button size="xl" variant="default" className={styles.pause ?? ""} loading={busy} onClick={pauseSession}
            leftSection={<IconPlayerPauseFilled aria-hidden />}>
            Pause
          </Button>
        )}
        <button type="button" className={styles.stop} disabled={busy} onClick={endSession}>
          <IconPlayerStopFilled size={32} aria-hidden /> Stop
        </button>
      </footer>
    </>
  );
}

/** Headsets that do not do what the others do, by name, with what can be done. */
function Failures({ session, parts }: { session: Session; parts: Part[] }) {
  const leftOut = useCapture((state) => state.leftOut);
  const failed = parts.filter(({ id, integrity }) => integrity.light === "bad" && !leftOut.includes(id));
  const stuck = failed.filter(({ integrity }) => integrity.word.endsWith("recording"));
  const lost = failed.filter(({ integrity }) => integrity.word === "Connection lost");
  if (stuck.length + lost.length === 0) return null;
  const shown = [...stuck, ...lost];
  const going = parts.length - leftOut.length - shown.length;
  const goOn = (): void => {
    useCapture.setState({ leftOut: [...leftOut, ...shown.map(({ id }) => id)] });
  };
  const wanted = session.status === "paused" ? "paused" : "recording";
  return (
    <div className={styles.failures} role="alert">
      {shown.map(({ id, name, integrity }) => (
        <p key={id}>
          <IconAlertTriangleFilled size={20} aria-hidden /> <strong>{name}</strong>: {integrity.word.toLowerCase()}
          {integrity.word === "Connection lost" && "; it goes on by itself and comes back"}
        </p>
      ))}
      <div className={styles.actions}>
        {stuck.length > 0 && (
          <Button onClick={() => stuck.forEach(({ id }) => retry(id, wanted))}>Retry</Button>
        )}
        {going > 0 && (
          <Button variant="default" onClick={goOn}>
            Go on with {going} of {parts.length}
          </Button>
        )}
      </div>
    </div>
  );
}

const LIGHTS = { good: IconCircleCheckFilled, check: IconAlertTriangleFilled, bad: IconXboxXFilled };

function LiveCard({ part }: { part: Part }) {
  const { id, name, row, integrity } = part;
  const Light = LIGHTS[integrity.light];
  const frames = row?.device.telemetry?.frameCount;
  return (
    <li className={styles.liveCard} data-light={integrity.light} data-device={id}>
      <Preview deviceId={id} name={name} />
      <div className={styles.checkHead}>
        <strong>{name}</strong>
        <span className={styles.verdict}>
          <Light size={20} aria-hidden /> {integrity.word}
        </span>
      </div>
      {row !== undefined && (
        <div className={styles.readings} data-stale={row.condition.stale}>
          <Battery device={row.device} condition={row.condition} />
          <Storage device={row.device} condition={row.condition} />
          <span className={styles.soft}>{frames === undefined ? "" : `${frames.toLocaleString()} frames`}</span>
        </div>
      )}
    </li>
  );
}
