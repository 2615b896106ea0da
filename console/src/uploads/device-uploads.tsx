import {
  IconAlertOctagonFilled,
  IconCircleCheck,
  IconCircleCheckFilled,
  IconClockHour4,
  IconRefresh,
  IconTrash,
  IconUpload,
} from "@tabler/icons-react";

import { useFleet } from "../live/fleet";
import { bytes, plural } from "../ui/format";
import { Bar } from "../ui/progress";
import {
  missingRecordings,
  percentOf,
  recordingsOf,
  retriesOf,
  stageOf,
  stageOfDevice,
  STAGE_WORDS,
  type Stage,
  type UploadDevice,
  type UploadFile,
} from "./progress";
import styles from "./uploads.module.css";

const ICONS: Record<Stage, typeof IconUpload> = {
  waiting: IconClockHour4,
  uploading: IconUpload,
  uploaded: IconCircleCheck,
  verified: IconCircleCheckFilled,
  failed: IconAlertOctagonFilled,
};

const KINDS = { video: "Video", data: "Tracking data" };

/** A headset's part of a session: how far, and whether it may forget what it recorded. */
export function DeviceUploads({ device }: { device: UploadDevice }) {
  const state = useFleet((fleet) => fleet.devices[device.deviceId]);
  const name = state?.customName ?? device.deviceId;
  const stage = stageOfDevice(device);
  const missing = missingRecordings(device);
  const folders = recordingsOf(device.files);
  return (
    <li className={styles.device} data-device={device.deviceId} data-stage={stage}>
      <div className={styles.head}>
        <strong>{name}</strong>
        <StageWord stage={stage} percent={stage === "uploading" ? percentOf(device.files) : null} />
      </div>
      {device.files.map((file) => (
        <File key={file.s3Key} file={file} recording={folders.length > 1 ? file.recording : null} headset={name} />
      ))}
      {missing > 0 && (
        <p className={styles.note}>
          {folders.length === 0 ? "Nothing has come yet" : `${plural(missing, "more recording")} to come`}
          {state?.isOnline === false && "; the headset is offline and goes on when it is back"}
        </p>
      )}
      {device.safeToDelete ? (
        <p className={styles.safe}>
          <IconTrash size={20} aria-hidden /> Safe to delete from headset
        </p>
      ) : (
        <p className={styles.note}>Keep it on the headset{stage === "failed" && ": upload it again"}</p>
      )}
    </li>
  );
}

function StageWord({ stage, percent }: { stage: Stage; percent: number | null }) {
  const Icon = ICONS[stage];
  return (
    <span className={styles.stage} data-stage={stage}>
      <Icon size={20} aria-hidden /> {STAGE_WORDS[stage]}
      {percent !== null && ` ${percent} %`}
    </span>
  );
}

function File({ file, recording, headset }: { file: UploadFile; recording: string | null; headset: string }) {
  const stage = stageOf(file);
  const percent = percentOf([file]);
  const label = `${KINDS[file.fileType]}${recording === null ? "" : ` of ${recording}`}`;
  const retries = retriesOf([file]);
  return (
    <div className={styles.file} data-stage={stage}>
      <span className={styles.kind}>{label}</span>
      <Bar label={`${label}, ${headset}`} percent={percent} />
      <span className={styles.size}>
        {file.stored >= file.size ? bytes(file.size) : `${bytes(file.stored)} of ${bytes(file.size)}`}
      </span>
      <StageWord stage={stage} percent={null} />
      {retries > 0 && (
        <span className={styles.retries}>
          <IconRefresh size={18} aria-hidden /> {plural(retries, "retry", "retries")}
        </span>
      )}
    </div>
  );
}
