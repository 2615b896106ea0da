import { IconLock, IconUserCheck } from "@tabler/icons-react";

import styles from "./badges.module.css";

/** Who has the headset. */
export function LockBadge({ holder }: { holder: string }) {
  if (holder === "") return null;
  const mine = holder === "this tablet";
  const Icon = mine ? IconUserCheck : IconLock;
  return (
    <span className={styles.badge} data-mine={mine}>
      <Icon size={16} aria-hidden />
      <span className="sr-only">Held by </span>
      <span className={styles.name}>{mine ? "You" : holder}</span>
    </span>
  );
}

export function RecordingDot() {
  return (
    <span className={styles.recording}>
      <span className={styles.dot} aria-hidden />
      REC
    </span>
  );
}
