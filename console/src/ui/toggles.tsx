import styles from "./toggles.module.css";

interface Props<T extends string> {
  label: string;
  options: { value: T; label: string }[];
  /** None is the same as all. */
  chosen: T[];
  onChoose: (chosen: T[]) => void;
}

/** Any of a few. */
export function Toggles<T extends string>({ label, options, chosen, onChoose }: Props<T>) {
  return (
    <div className={styles.toggles} role="group" aria-label={label}>
      {options.map(({ value, label: text }) => (
        <button
          key={value}
          type="button"
          aria-pressed={chosen.includes(value)}
          onClick={() =>
            onChoose(chosen.includes(value) ? chosen.filter((other) => other !== value) : [...chosen, value])
          }
        >
          {text}
        </button>
      ))}
    </div>
  );
}
