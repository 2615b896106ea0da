import { Alert, Button } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";

import { localTime } from "../ui/format";
import { titleOf } from "../ui/take";
import { DeviceUploads } from "./device-uploads";
import { isMoving, type UploadSession } from "./progress";
import { Summary } from "./session-uploads";
import styles from "./uploads.module.css";
import { useUploads } from "./use-uploads";

/** Is everything that was recorded in the bucket, and may headsets be emptied? */
export default function UploadsPage() {
  const { sessions, problem, older } = useUploads();
  return (
    <>
      <h1>Uploads</h1>
      {problem !== null && (
        <Alert color="red" icon={<IconAlertTriangle />} role="alert">
          {problem}
        </Alert>
      )}
      {sessions?.length === 0 && <p className={styles.note}>Nothing was recorded in the last 7 days.</p>}
      <div className={styles.sessions}>
        {sessions?.map((session) => (
          <Session key={session.sessionId} session={session} />
        ))}
      </div>
      {older !== null && (
        <Button variant="default" onClick={older} mt="md">
          Older
        </Button>
      )}
    </>
  );
}

function Session({ session }: { session: UploadSession }) {
  const title = titleOf(session.metadata) || "Session without details";
  const open = session.devices.some(({ safeToDelete }) => !safeToDelete);
  return (
    <section className={styles.session} data-session={session.sessionId} aria-label={title}>
      <header className={styles.head}>
        <div>
          <h2>{title}</h2>
          <span className={styles.note}>
            {localTime(session.startedAt)}
            {session.endedAt === null && ", under way"}
            {session.discardedAt !== null && ", discarded"}
          </span>
        </div>
        <Summary session={session} />
      </header>
      {/* What is finished needs no look; what is not lies open. */}
      <details open={open && (isMoving(session, Date.now()) || session.devices.some(({ files }) => files.length > 0))}>
        <summary className={styles.more}>Headsets and files</summary>
        <ul className={styles.devices}>
          {session.devices.map((device) => (
            <DeviceUploads key={device.deviceId} device={device} />
          ))}
        </ul>
      </details>
    </section>
  );
}
