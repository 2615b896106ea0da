import {
  IconAlertTriangleFilled,
  IconCircleCheckFilled,
  IconCircleDashed,
  IconThumbDownFilled,
  IconThumbUpFilled,
  IconXboxXFilled,
} from "@tabler/icons-react";

import { localTime } from "../ui/format";
import type { Recording, Verdict } from "./list";
import styles from "./review.module.css";

const ICONS = { PASS: IconCircleCheckFilled, WARN: IconAlertTriangleFilled, FAIL: IconXboxXFilled };

export function VerdictBadge({ verdict }: { verdict: Verdict }) {
  const Icon = ICONS[verdict];
  return (
    <span className={styles.verdict} data-verdict={verdict}>
      <Icon size={18} aria-hidden /> {verdict}
    </span>
  );
}

/** What a person decided, who it was and when. */
export function ReviewBadge({ review, short = false }: { review: Recording["review"]; short?: boolean }) {
  if (review === null) {
    return (
      <span className={styles.review} data-decision="open">
        <IconCircleDashed size={18} aria-hidden /> Not reviewed
      </span>
    );
  }
  const accepted = review.decision === "accepted";
  const Icon = accepted ? IconThumbUpFilled : IconThumbDownFilled;
  return (
    <span className={styles.reviewed}>
      <span className={styles.review} data-decision={review.stale ? "open" : review.decision}>
        <Icon size={18} aria-hidden /> {accepted ? "Accepted" : "Rejected"}
        {review.stale && ", but its files have changed"}
      </span>
      <span className={styles.soft}>
        by {review.by}, {localTime(review.at)}
        {!short && review.reason !== "" && `: ${review.reason}`}
      </span>
    </span>
  );
}
