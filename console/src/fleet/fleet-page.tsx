import { Button, CloseButton, SegmentedControl, Select, TextInput } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { IconLayoutGrid, IconSearch, IconTable, IconVideo } from "@tabler/icons-react";
import { useCallback, useMemo, useState } from "react";
import { useLocation } from "wouter";

import { useCapture } from "../capture/store";
import { useFleet } from "../live/fleet";
import { plural } from "../ui/format";
import { FLAGS, has, matches, type Filter, type Flag } from "./filter";
import styles from "./fleet-page.module.css";
import { FleetTable } from "./table";
import { Tile } from "./tile";
import { useRows, type Row } from "./use-rows";

const EVERYTHING: Filter = { text: "", flags: [], version: null };

export function FleetPage() {
  const rows = useRows();
  const loaded = useFleet((state) => state.loaded);
  const [filter, setFilter] = useState<Filter>(EVERYTHING);
  const [view, setView] = useLocalStorage({ key: "quest.fleet-view", defaultValue: "grid" });
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());

  const select = useCallback((deviceId: string, on: boolean) => {
    setSelected((before) => {
      const after = new Set(before);
      if (on) after.add(deviceId);
      else after.delete(deviceId);
      return after;
    });
  }, []);

  const shown = rows.filter((row) => matches(filter, row.device, row.condition, row.holder));
  return (
    <>
      <header className={styles.header}>
        <h1>Fleet</h1>
        <Counts rows={rows} filter={filter} onFilter={setFilter} />
      </header>
      <Tools rows={rows} filter={filter} onFilter={setFilter} view={view} onView={setView} />
      {shown.length === 0 ? (
        <Nothing loaded={loaded} filtered={rows.length > 0} onClear={() => setFilter(EVERYTHING)} />
      ) : view === "table" ? (
        <FleetTable rows={shown} selected={selected} onSelect={select} />
      ) : (
        <ul className={styles.grid} aria-label="Headsets, worst first">
          {shown.map((row) => (
            <Tile
              key={row.device.deviceId}
              row={row}
              selected={selected.has(row.device.deviceId)}
              onSelect={select}
            />
          ))}
        </ul>
      )}
      {selected.size > 0 && (
        <SelectionBar shown={shown} selected={selected} onChange={setSelected} />
      )}
    </>
  );
}

/** How many there are of each kind; each is a filter. */
function Counts({ rows, filter, onFilter }: { rows: Row[]; filter: Filter; onFilter: (f: Filter) => void }) {
  const toggle = (flag: Flag): void => {
    const flags = filter.flags.includes(flag)
      ? filter.flags.filter((other) => other !== flag)
      : [...filter.flags, flag];
    onFilter({ ...filter, flags });
  };
  return (
    <div className={styles.counts} role="group" aria-label="Filters">
      {FLAGS.map(({ value, label }) => {
        const count = rows.filter((row) => has(value, row.device, row.condition)).length;
        return (
          <button
            key={value}
            type="button"
            className={styles.count}
            data-alert={value === "problem" && count > 0}
            aria-pressed={filter.flags.includes(value)}
            onClick={() => toggle(value)}
          >
            <strong>{value === "online" ? `${count}/${rows.length}` : count}</strong> {label}
          </button>
        );
      })}
    </div>
  );
}

interface ToolsProps {
  rows: Row[];
  filter: Filter;
  onFilter: (filter: Filter) => void;
  view: string;
  onView: (view: string) => void;
}

function Tools({ rows, filter, onFilter, view, onView }: ToolsProps) {
  const versions = useMemo(
    () => [...new Set(rows.flatMap(({ device }) => device.telemetry?.appVersion ?? []))].sort(),
    [rows],
  );
  return (
    <div className={styles.tools}>
      <TextInput
        className={styles.search ?? ""}
        aria-label="Search headsets"
        placeholder="Search name, id, status, tablet"
        leftSection={<IconSearch size={20} aria-hidden />}
        rightSection={
          filter.text !== "" && (
            <CloseButton aria-label="Clear the search" onClick={() => onFilter({ ...filter, text: "" })} />
          )
        }
        value={filter.text}
        onChange={(event) => onFilter({ ...filter, text: event.currentTarget.value })}
      />
      <Select
        className={styles.version ?? ""}
        aria-label="App version"
        placeholder="Any app version"
        clearable
        data={versions}
        value={filter.version}
        onChange={(version) => onFilter({ ...filter, version })}
      />
      <SegmentedControl
        aria-label="View"
        size="md"
        value={view}
        onChange={onView}
        data={[
          { value: "grid", label: <ViewLabel icon={IconLayoutGrid} text="Grid" /> },
          { value: "table", label: <ViewLabel icon={IconTable} text="Table" /> },
        ]}
      />
    </div>
  );
}

function ViewLabel({ icon: Icon, text }: { icon: typeof IconTable; text: string }) {
  return (
    <span className={styles.view}>
      <Icon size={18} aria-hidden />
      {text}
    </span>
  );
}

function Nothing({ loaded, filtered, onClear }: { loaded: boolean; filtered: boolean; onClear: () => void }) {
  if (filtered) {
    return (
      <div className={styles.nothing}>
        <p>No headset matches.</p>
        <Button variant="default" onClick={onClear}>
          Show all
        </Button>
      </div>
    );
  }
  return (
    <div className={styles.nothing}>
      <p>
        {loaded
          ? "No headset has connected yet. Start the app on a headset in this network, and it appears here."
          : "Loading the fleet …"}
      </p>
    </div>
  );
}

interface SelectionProps {
  shown: Row[];
  selected: ReadonlySet<string>;
  onChange: (selected: ReadonlySet<string>) => void;
}

function SelectionBar({ shown, selected, onChange }: SelectionProps) {
  const [, navigate] = useLocation();
  const capture = (): void => {
    useCapture.setState({ chosen: [...selected], step: "choose" });
    navigate("/capture");
  };
  return (
    <div className={styles.selection} role="toolbar" aria-label="Selected headsets">
      <strong>{plural(selected.size, "headset")} selected</strong>
      <Button leftSection={<IconVideo aria-hidden />} onClick={capture}>
        Capture with {selected.size === 1 ? "it" : "them"}
      </Button>
      <Button variant="subtle" onClick={() => onChange(new Set(shown.map(({ device }) => device.deviceId)))}>
        Select all {shown.length} shown
      </Button>
      <Button variant="subtle" onClick={() => onChange(new Set())}>
        Clear
      </Button>
    </div>
  );
}
