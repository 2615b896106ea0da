import { Alert } from "@mantine/core";

import { plural } from "../ui/format";
import { DeviceUploads } from "./device-uploads";
import type { UploadSession } from "./progress";
import { useUploads } from "./use-uploads";
import styles from "./uploads.module.css";

/** The uploads of one session that has just ended, by themselves up to date. */
export function SessionUploads({ sessionId }: { sessionId: string }) {
  const { sessions, problem } = useUploads(sessionId);
  const session = sessions?.[0];
  return (
    <section className={styles.section} aria-labelledby="uploads">
      <h2 id="uploads">Uploads</h2>
      {problem !== null && <Alert color="red">{problem}</Alert>}
      {session !== undefined && (
        <>
          <Summary session={session} />
          <ul className={styles.devices}>
            {session.devices.map((device) => (
              <DeviceUploads key={device.deviceId} device={device} />
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

export function Summary({ session }: { session: UploadSession }) {
  const safe = session.devices.filter(({ safeToDelete }) => safeToDelete).length;
  return (
    <p className={styles.summary} role="status" data-all={safe === session.devices.length}>
      {safe} of {plural(session.devices.length, "headset")} verified and safe to delete
    </p>
  );
}
