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
      <span
        className={styles.bar}
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={100}
        {...(total > 0 && { "aria-valuenow": percent })}
        data-unknown={total === 0}
      >
        <svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden>
          <rect width={total > 0 ? percent : 30} height="1" />
        </svg>
      </span>
    </div>
  );
}
