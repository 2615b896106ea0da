import { Button, Checkbox } from "@mantine/core";
import { useMemo } from "react";

import { LockBadge } from "../fleet/badges";
import { Battery, Storage } from "../fleet/metrics";
import { StatusChip } from "../fleet/status-chip";
import { useRows, type Row } from "../fleet/use-rows";
import { ago, plural } from "../ui/format";
import styles from "./capture.module.css";
import { MOST_HEADSETS, useCapture } from "./store";

const LEVELS = ["ok", "rec", "warn", "bad", "off"];

/** Those that can record come first: here the best are looked for, not the worst. */
function byUse(a: Row, b: Row): number {
  const taken = (row: Row): number => (row.holder === "" || row.holder === "this tablet" ? 0 : 1);
  return (
    Number(b.device.isOnline) - Number(a.device.isOnline) ||
    taken(a) - taken(b) ||
    LEVELS.indexOf(a.condition.level) - LEVELS.indexOf(b.condition.level) ||
    a.device.customName.localeCompare(b.device.customName, undefined, { numeric: true })
  );
}

export function ChooseStep() {
  const rows = useRows();
  const chosen = useCapture((state) => state.chosen);
  const sorted = useMemo(() => [...rows].sort(byUse), [rows]);
  const known = chosen.filter((id) => rows.some(({ device }) => device.deviceId === id));
  const ready = sorted
    .filter(({ condition, holder }) => condition.level === "ok" && (holder === "" || holder === "this tablet"))
    .map(({ device }) => device.deviceId)
    .slice(0, MOST_HEADSETS);
  const choose = (id: string, on: boolean): void => {
    useCapture.setState({ chosen: on ? [...known, id] : known.filter((other) => other !== id) });
  };
  return (
    <>
      <div className={styles.bar}>
        <h2>Which headsets record?</h2>
        <Button variant="default" disabled={ready.length === 0} onClick={() => useCapture.setState({ chosen: ready })}>
          All {ready.length} ready
        </Button>
      </div>
      {rows.length === 0 && <p className={styles.soft}>No headset has connected yet.</p>}
      <ul className={styles.choices}>
        {sorted.map((row) => (
          <Choice
            key={row.device.deviceId}
            row={row}
            chosen={known.includes(row.device.deviceId)}
            full={known.length >= MOST_HEADSETS}
            onChoose={choose}
          />
        ))}
      </ul>
      <footer className={styles.footer}>
        <span className={styles.soft}>
          {plural(known.length, "headset")} chosen
          {known.length >= MOST_HEADSETS && ", as many as one session takes"}
        </span>
        <Button
          size="lg"
          disabled={known.length === 0}
          onClick={() => useCapture.setState({ chosen: known, step: "details" })}
        >
          Next: details
        </Button>
      </footer>
    </>
  );
}

interface ChoiceProps {
  row: Row;
  chosen: boolean;
  /** No more can be chosen. */
  full: boolean;
  onChoose: (id: string, on: boolean) => void;
}

function Choice({ row, chosen, full, onChoose }: ChoiceProps) {
  const { device, condition, holder } = row;
  const free = holder === "" || holder === "this tablet";
  return (
    <li>
      <label className={styles.choice} data-chosen={chosen} data-off={!device.isOnline || !free}>
        <Checkbox
          size="lg"
          aria-label={device.customName}
          checked={chosen}
          // Chosen ones can always be let go.
          disabled={(!device.isOnline || !free || full) && !chosen}
          onChange={(event) => onChoose(device.deviceId, event.currentTarget.checked)}
        />
        <span className={styles.choiceName}>
          <strong>{device.customName}</strong>
          {free ? (
            <span className={styles.soft}>
              {condition.stale ? `Seen ${ago(condition.ageMs)}` : condition.problems.map(({ text }) => text).join(", ")}
            </span>
          ) : (
            <LockBadge holder={holder} />
          )}
        </span>
        {!condition.stale && (
          <span className={styles.readings}>
            <Battery device={device} condition={condition} />
            <Storage device={device} condition={condition} />
          </span>
        )}
        <StatusChip condition={condition} />
      </label>
    </li>
  );
}
