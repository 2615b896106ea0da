import { useEffect, useRef, useState, type KeyboardEvent, type ReactNode } from "react";

import styles from "./hold-button.module.css";

const HOLD_MS = 1500;

interface Props {
  children: ReactNode;
  onHeld: () => void;
  disabled?: boolean;
}

/** For what cannot be undone: does nothing unless it is held, by finger or by key. */
export function HoldButton({ children, onHeld, disabled = false }: Props) {
  const [holding, setHolding] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);

  const start = (): void => {
    if (disabled || timer.current !== undefined) return;
    setHolding(true);
    timer.current = setTimeout(() => {
      release();
      onHeld();
    }, HOLD_MS);
  };
  const release = (): void => {
    clearTimeout(timer.current);
    timer.current = undefined;
    setHolding(false);
  };
  useEffect(() => () => clearTimeout(timer.current), []);

  const isKey = (event: KeyboardEvent): boolean => event.key === "Enter" || event.key === " ";
  return (
    <button
      type="button"
      className={styles.button}
      data-holding={holding}
      disabled={disabled}
      onPointerDown={start}
      onPointerUp={release}
      onPointerLeave={release}
      onPointerCancel={release}
      onContextMenu={(event) => event.preventDefault()}
      onKeyDown={(event) => {
        if (!isKey(event)) return;
        event.preventDefault();
        start();
      }}
      onKeyUp={(event) => isKey(event) && release()}
      onBlur={release}
    >
      <span className={styles.fill} aria-hidden />
      <span className={styles.label}>{children}</span>
    </button>
  );
}
