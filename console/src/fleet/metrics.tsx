/** What a headset says of itself, as small readings: an icon, a number, and what it is for readers. */
import {
  IconBattery1,
  IconBattery2,
  IconBattery3,
  IconBattery4,
  IconBatteryCharging,
  IconBatteryOff,
  IconCheck,
  IconDatabase,
  IconTarget,
  IconTemperature,
  IconWifi,
  IconWifi0,
  IconWifi1,
  IconWifi2,
  IconWifiOff,
  IconX,
} from "@tabler/icons-react";
import type { ReactNode } from "react";

import type { Device } from "../live/wire";
import { percent, recordingTime } from "../ui/format";
import { hottestC, isCharging, type Condition } from "./condition";
import styles from "./metrics.module.css";
import { minutesLeft } from "./storage";

interface Props {
  device: Device;
  condition: Condition;
}

function Reading(props: { label: string; icon: ReactNode; level?: string | undefined; children: ReactNode }) {
  return (
    <span className={styles.reading} data-level={props.level} title={props.label}>
      {props.icon}
      <span className="sr-only">{props.label}: </span>
      <span>{props.children}</span>
    </span>
  );
}

function levelOf(condition: Condition, word: string): string | undefined {
  return condition.problems.find((problem) => problem.word === word)?.level;
}

const BATTERIES = [IconBattery1, IconBattery2, IconBattery3, IconBattery4];

export function Battery({ device, condition }: Props) {
  const level = device.telemetry?.batteryLevel;
  const charging = isCharging(device);
  const Icon = charging
    ? IconBatteryCharging
    : level === undefined
      ? IconBatteryOff
      : (BATTERIES[Math.min(3, Math.floor(level * 4))] ?? IconBattery1);
  return (
    <Reading
      label={charging ? "Battery, charging" : "Battery"}
      icon={<Icon size={20} aria-hidden />}
      level={levelOf(condition, "Low battery")}
    >
      {percent(level)}
    </Reading>
  );
}

export function Storage({ device, condition }: Props) {
  return (
    <Reading
      label="Recording time left on its storage"
      icon={<IconDatabase size={18} aria-hidden />}
      level={levelOf(condition, "Storage full")}
    >
      {recordingTime(minutesLeft(device))}
    </Reading>
  );
}

const WIFIS: [number, typeof IconWifi][] = [
  [-60, IconWifi],
  [-68, IconWifi2],
  [-75, IconWifi1],
  [-101, IconWifi0],
];

export function Wifi({ device, condition }: Props) {
  const dbm = device.telemetry?.wifiSignalLevel;
  const Icon = WIFIS.find(([least]) => dbm !== undefined && dbm > least)?.[1] ?? IconWifiOff;
  return (
    <Reading
      label="Wi-Fi in dBm"
      icon={<Icon size={19} aria-hidden />}
      level={levelOf(condition, "Weak Wi-Fi")}
    >
      {dbm === undefined ? "–" : dbm.toString().replace("-", "−")}
    </Reading>
  );
}

export function Heat({ device, condition }: Props) {
  const hottest = hottestC(device);
  return (
    <Reading
      label="Hotter of CPU and GPU"
      icon={<IconTemperature size={19} aria-hidden />}
      level={levelOf(condition, "Hot")}
    >
      {hottest === null ? "–" : `${Math.round(hottest)} °C`}
    </Reading>
  );
}

export function Confidence({ device, condition }: Props) {
  return (
    <Reading
      label="Tracking confidence"
      icon={<IconTarget size={19} aria-hidden />}
      level={levelOf(condition, "Tracking")}
    >
      {percent(device.telemetry?.trackingConfidence)}
    </Reading>
  );
}

export function Hands({ device }: { device: Device }) {
  return (
    <span className={styles.hands}>
      <Hand side="L" name="Left hand" tracked={device.telemetry?.leftHandTracked} />
      <Hand side="R" name="Right hand" tracked={device.telemetry?.rightHandTracked} />
    </span>
  );
}

function Hand({ side, name, tracked }: { side: string; name: string; tracked: boolean | undefined }) {
  const text = tracked === undefined ? "unknown" : tracked ? "tracked" : "not tracked";
  const Icon = tracked === true ? IconCheck : IconX;
  return (
    <span className={styles.hand} data-tracked={tracked} title={`${name} ${text}`}>
      <span aria-hidden>{side}</span>
      {tracked !== undefined && <Icon size={14} stroke={3} aria-hidden />}
      <span className="sr-only">
        {name} {text}
      </span>
    </span>
  );
}
