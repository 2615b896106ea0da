import { Alert, Anchor, Button, TextInput } from "@mantine/core";
import { IconArrowLeft, IconPencil } from "@tabler/icons-react";
import { useEffect, useState, type FormEvent } from "react";
import { Link } from "wouter";

import { LockBadge, RecordingDot } from "../fleet/badges";
import { Battery, Confidence, Hands, Heat, Storage, Wifi } from "../fleet/metrics";
import { StatusChip } from "../fleet/status-chip";
import { useRows, type Row } from "../fleet/use-rows";
import { call, problemOf } from "../http";
import { useConnection } from "../live/connection";
import { useFleet } from "../live/fleet";
import { watch } from "../live/frames";
import { ago } from "../ui/format";
import { Preview } from "../ui/preview";
import { Charts } from "./charts";
import styles from "./device-page.module.css";
import { Sessions } from "./sessions";

export default function DevicePage({ deviceId }: { deviceId: string }) {
  const loaded = useFleet((state) => state.loaded);
  const row = useRows().find(({ device }) => device.deviceId === deviceId);
  return (
    <>
      <Anchor component={Link} to="/fleet" className={styles.back ?? ""}>
        <IconArrowLeft size={20} aria-hidden /> Fleet
      </Anchor>
      {row !== undefined ? (
        <Device row={row} />
      ) : (
        <h1>{loaded ? `No headset ${deviceId} in the fleet` : "Loading …"}</h1>
      )}
    </>
  );
}

function Device({ row }: { row: Row }) {
  const { device, condition, holder } = row;
  const { deviceId, telemetry } = device;
  const wire = useConnection((state) => state.wire);
  useEffect(() => (wire === null ? undefined : watch(deviceId)), [wire, deviceId]);
  const reading = { device, condition };
  return (
    <>
      <header className={styles.header}>
        <Name deviceId={deviceId} name={device.customName} />
        <StatusChip condition={condition} />
        {device.isRecording && condition.level !== "rec" && <RecordingDot />}
        <LockBadge holder={holder} />
      </header>
      <div className={styles.columns}>
        <section className={styles.card} aria-label="Now">
          <Preview deviceId={deviceId} name={device.customName} />
          {condition.problems.length > 0 && (
            <ul className={styles.problems}>
              {condition.problems.map(({ text }) => (
                <li key={text}>{text}</li>
              ))}
            </ul>
          )}
          <div className={styles.readings} data-stale={condition.stale}>
            <Battery {...reading} />
            <Storage {...reading} />
            <Wifi {...reading} />
            <Hands device={device} />
            <Confidence {...reading} />
            <Heat {...reading} />
          </div>
          <dl className={styles.facts}>
            <dt>Last seen</dt>
            <dd>{ago(condition.ageMs)}</dd>
            <dt>Device id</dt>
            <dd>{deviceId}</dd>
            <dt>App, system, SDK</dt>
            <dd>{[telemetry?.appVersion, telemetry?.osVersion, telemetry?.sdkVersion].map((v) => v ?? "–").join(", ")}</dd>
            <dt>Network</dt>
            <dd>{telemetry?.wifiSSID ?? "–"}</dd>
            <dt>Frames, dropped</dt>
            <dd>
              {telemetry?.frameCount?.toLocaleString() ?? "–"}, {telemetry?.droppedFrames?.toLocaleString() ?? "–"}
            </dd>
          </dl>
        </section>
        <div className={styles.side}>
          <Charts deviceId={deviceId} />
          <Sessions deviceId={deviceId} />
        </div>
      </div>
    </>
  );
}

function Name({ deviceId, name }: { deviceId: string; name: string }) {
  const [typed, setTyped] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const save = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    try {
      await call("POST", `/api/devices/${deviceId}/name`, { customName: typed });
      setTyped(null);
      setProblem(null);
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  if (typed === null) {
    return (
      <>
        <h1>{name}</h1>
        <Button variant="default" leftSection={<IconPencil size={18} aria-hidden />} onClick={() => setTyped(name)}>
          Rename
        </Button>
      </>
    );
  }
  return (
    <form className={styles.rename} onSubmit={(event) => void save(event)}>
      <TextInput
        aria-label="Name"
        autoFocus
        maxLength={100}
        value={typed}
        onChange={(event) => setTyped(event.currentTarget.value)}
        onKeyDown={(event) => event.key === "Escape" && setTyped(null)}
      />
      <Button type="submit">Save</Button>
      <Button variant="default" onClick={() => setTyped(null)}>
        Cancel
      </Button>
      {problem !== null && <Alert color="red">{problem}</Alert>}
    </form>
  );
}
