import { Checkbox, Table } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { IconArrowNarrowDown, IconArrowNarrowUp } from "@tabler/icons-react";
import { Link } from "wouter";

import { ago } from "../ui/format";
import { LockBadge, RecordingDot } from "./badges";
import { Battery, Confidence, Hands, Heat, Storage, Wifi } from "./metrics";
import { pressed, WORST_FIRST, type Column } from "./sort";
import { StatusChip } from "./status-chip";
import styles from "./table.module.css";
import type { Row } from "./use-rows";
import { useSorted } from "./use-sorted";

interface Props {
  rows: Row[];
  selected: ReadonlySet<string>;
  onSelect: (deviceId: string, selected: boolean) => void;
}

const COLUMNS: Column[] = [
  "Headset", "Status", "Battery", "Time left", "Wi-Fi", "Hands", "Confidence", "Heat", "App", "Held by", "Seen",
];

export function FleetTable({ rows, selected, onSelect }: Props) {
  const [sort, setSort] = useLocalStorage({ key: "quest.fleet-sort", defaultValue: WORST_FIRST });
  const shown = useSorted(rows, sort);
  const Arrow = sort.down ? IconArrowNarrowDown : IconArrowNarrowUp;
  return (
    <div className={styles.frame} tabIndex={0} role="region" aria-label="Headsets as a table">
      <Table stickyHeader highlightOnHover verticalSpacing="xs" className={styles.table ?? ""}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>
              <span className="sr-only">Select</span>
            </Table.Th>
            {COLUMNS.map((name) => (
              <Table.Th
                key={name}
                aria-sort={name !== sort.column ? undefined : sort.down ? "descending" : "ascending"}
              >
                <button type="button" className={styles.heading} onClick={() => setSort(pressed(sort, name))}>
                  {name}
                  {name === sort.column && <Arrow size={18} aria-hidden />}
                </button>
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {shown.map((row) => (
            <TableRow
              key={row.device.deviceId}
              row={row}
              selected={selected.has(row.device.deviceId)}
              onSelect={onSelect}
            />
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

function TableRow({ row, selected, onSelect }: { row: Row; selected: boolean; onSelect: Props["onSelect"] }) {
  const { device, condition, holder } = row;
  const reading = { device, condition };
  return (
    <Table.Tr data-device={device.deviceId} data-stale={condition.stale} data-selected={selected}>
      <Table.Td>
        <Checkbox
          size="md"
          aria-label={`Select ${device.customName}`}
          checked={selected}
          onChange={(event) => onSelect(device.deviceId, event.currentTarget.checked)}
        />
      </Table.Td>
      <Table.Td>
        <Link to={`/devices/${device.deviceId}`} className={styles.name}>
          {device.customName}
        </Link>
      </Table.Td>
      <Table.Td>
        <StatusChip condition={condition} />
      </Table.Td>
      <Table.Td className={styles.value}><Battery {...reading} /></Table.Td>
      <Table.Td className={styles.value}><Storage {...reading} /></Table.Td>
      <Table.Td className={styles.value}><Wifi {...reading} /></Table.Td>
      <Table.Td className={styles.value}><Hands device={device} /></Table.Td>
      <Table.Td className={styles.value}><Confidence {...reading} /></Table.Td>
      <Table.Td className={styles.value}><Heat {...reading} /></Table.Td>
      <Table.Td className={styles.value}>{device.telemetry?.appVersion ?? "–"}</Table.Td>
      <Table.Td>
        <LockBadge holder={holder} /> {device.isRecording && condition.level !== "rec" && <RecordingDot />}
      </Table.Td>
      <Table.Td>{condition.stale ? ago(condition.ageMs) : "now"}</Table.Td>
    </Table.Tr>
  );
}
