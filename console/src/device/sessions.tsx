import { useEffect, useState } from "react";

import { call, problemOf } from "../http";
import { useFleet } from "../live/fleet";
import { clock, localTime, plural } from "../ui/format";
import styles from "./device-page.module.css";

interface SessionRow {
  sessionId: string;
  status: string;
  deviceCount: number;
  createdAt: string;
  startedAt?: string;
  endedAt?: string;
  discardedAt?: string;
}

/** The sessions of the last 7 days that this headset was part of. */
export function Sessions({ deviceId }: { deviceId: string }) {
  const recording = useFleet((state) => state.devices[deviceId]?.isRecording);
  const [rows, setRows] = useState<SessionRow[] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    call<{ sessions: SessionRow[] }>("GET", `/api/sessions?deviceId=${deviceId}`).then(
      ({ sessions }) => setRows(sessions),
      (error: unknown) => setProblem(problemOf(error)),
    );
  }, [deviceId, recording]);
  return (
    <section className={styles.card} aria-labelledby="sessions">
      <h2 id="sessions">Sessions of the last 7 days</h2>
      {problem !== null && <p role="alert">{problem}</p>}
      {rows?.length === 0 && <p className={styles.soft}>None yet.</p>}
      <ul className={styles.sessions}>
        {rows?.map((row) => (
          <li key={row.sessionId}>
            <strong>{localTime(row.startedAt ?? row.createdAt)}</strong>
            <span>{lengthOf(row)}</span>
            <span className={styles.soft}>{plural(row.deviceCount, "headset")}</span>
            <span>{row.discardedAt ? "Discarded" : row.status[0]?.toUpperCase() + row.status.slice(1)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function lengthOf({ startedAt, endedAt }: SessionRow): string {
  if (startedAt === undefined) return "never started";
  return endedAt === undefined ? "under way" : clock(Date.parse(endedAt) - Date.parse(startedAt));
}
