import { Checkbox } from "@mantine/core";
import { memo } from "react";
import { Link } from "wouter";

import { ago } from "../ui/format";
import { LockBadge, RecordingDot } from "./badges";
import { Battery, Confidence, Hands, Heat, Storage, Wifi } from "./metrics";
import { StatusChip } from "./status-chip";
import { Thumbnail } from "./thumbnail";
import styles from "./tile.module.css";
import type { Row } from "./use-rows";

interface Props {
  row: Row;
  selected: boolean;
  onSelect: (deviceId: string, selected: boolean) => void;
}

export const Tile = memo(function Tile({ row, selected, onSelect }: Props) {
  const { device, condition, holder } = row;
  const second = condition.problems.slice(1).map((problem) => problem.text);
  return (
    <li className={styles.tile} data-level={condition.level} data-selected={selected} data-device={device.deviceId}>
      <div className={styles.head}>
        <Checkbox
          size="md"
          className={styles.check ?? ""}
          aria-label={`Select ${device.customName}`}
          checked={selected}
          onChange={(event) => onSelect(device.deviceId, event.currentTarget.checked)}
        />
        <Link to={`/devices/${device.deviceId}`} className={styles.name} title={device.deviceId}>
          {device.customName}
        </Link>
        <StatusChip condition={condition} />
      </div>
      {device.isOnline && <Thumbnail deviceId={device.deviceId} name={device.customName} />}
      <div className={styles.body} data-stale={condition.stale}>
        <Battery device={device} condition={condition} />
        <Storage device={device} condition={condition} />
        <Wifi device={device} condition={condition} />
        <Hands device={device} />
        <Confidence device={device} condition={condition} />
        <Heat device={device} condition={condition} />
      </div>
      <div className={styles.foot}>
        {device.isRecording && condition.level !== "rec" && <RecordingDot />}
        <LockBadge holder={holder} />
        <span className={styles.note}>
          {condition.stale
            ? `Seen ${ago(condition.ageMs)}`
            : second.length > 0
              ? second.join(", ")
              : `App ${device.telemetry?.appVersion ?? "–"}`}
        </span>
      </div>
    </li>
  );
}, same);

/** Rows are made anew every second; a tile is drawn again when what it shows has changed. */
function same(before: Props, after: Props): boolean {
  const [a, b] = [before.row, after.row];
  return (
    before.selected === after.selected &&
    before.onSelect === after.onSelect &&
    a.device === b.device &&
    a.holder === b.holder &&
    a.condition.stale === b.condition.stale &&
    a.condition.word === b.condition.word &&
    (!a.condition.stale || ago(a.condition.ageMs) === ago(b.condition.ageMs))
  );
}
