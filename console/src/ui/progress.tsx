import styles from "./progress.module.css";

/** How much of something is done; `total` 0 while that is not known. */
export function Progress({ label, done, total }: { label: string; done: number; total: number }) {
  const percent = total > 0 ? Math.min(100, Math.floor((100 * done) / total)) : 0;
  return (
    <div className={styles.progress}>
      <span>
        {label}
        {total > 0 ? ` ${percent} %` : done > 0 ? `, ${done.toLocaleString()} so far` : " …"}
      </span>
      <Bar label={label} percent={total > 0 ? percent : null} />
    </div>
  );
}

/** The bar alone, in the colour `--bar-colour`; `percent` null while that is not known. */
export function Bar({ label, percent }: { label: string; percent: number | null }) {
  return (
    <span
      className={styles.bar}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      {...(percent !== null && { "aria-valuenow": percent })}
      data-unknown={percent === null}
    >
      <svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden>
        <rect width={percent ?? 30} height="1" />
      </svg>
    </span>
  );
}
