import {
  IconAlertOctagonFilled,
  IconAlertTriangleFilled,
  IconCircleCheckFilled,
  IconCircleDashed,
  IconCircleFilled,
} from "@tabler/icons-react";

import type { Condition, Level } from "./condition";
import styles from "./status-chip.module.css";

const ICONS: Record<Level, typeof IconCircleFilled> = {
  bad: IconAlertOctagonFilled,
  warn: IconAlertTriangleFilled,
  rec: IconCircleFilled,
  ok: IconCircleCheckFilled,
  off: IconCircleDashed,
};

/** One word; its shape says as much as its colour. */
export function StatusChip({ condition }: { condition: Pick<Condition, "level" | "word"> }) {
  const Icon = ICONS[condition.level];
  return (
    <span className={styles.chip} data-level={condition.level}>
      <Icon size={15} aria-hidden />
      {condition.word}
    </span>
  );
}
