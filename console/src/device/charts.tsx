import "uplot/dist/uPlot.min.css";

import type { DeviceTelemetry } from "@wire/events";
import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";

import { call, problemOf } from "../http";
import styles from "./device-page.module.css";

interface Line {
  label: string;
  value: (sample: DeviceTelemetry) => number | undefined;
  /** Index of a colour that both themes have. */
  colour: number;
}

interface Chart {
  title: string;
  unit: string;
  range: [number, number] | null;
  lines: Line[];
}

const share = (part: number | undefined): number | undefined => (part === undefined ? undefined : part * 100);

const CHARTS: Chart[] = [
  {
    title: "Battery and tracking confidence",
    unit: "%",
    range: [0, 100],
    lines: [
      { label: "Battery", value: (s) => share(s.batteryLevel), colour: 0 },
      { label: "Confidence", value: (s) => share(s.trackingConfidence), colour: 1 },
    ],
  },
  {
    title: "Temperature",
    unit: "°C",
    range: null,
    lines: [
      { label: "CPU", value: (s) => s.cpuTemperature, colour: 0 },
      { label: "GPU", value: (s) => s.gpuTemperature, colour: 1 },
    ],
  },
  {
    title: "Wi-Fi",
    unit: "dBm",
    range: [-100, -30],
    lines: [{ label: "Signal", value: (s) => s.wifiSignalLevel, colour: 0 }],
  },
  {
    title: "Free storage",
    unit: "GB",
    range: null,
    lines: [
      {
        label: "Free",
        value: ({ storageTotalBytes: total, storageUsedBytes: used }) =>
          total === undefined || used === undefined ? undefined : (total - used) / 1e9,
        colour: 0,
      },
    ],
  },
];

const COLOURS = { light: ["#2f47c2", "#b4450c"], dark: ["#9fb0ff", "#ffb27a"] };
const INK = { light: { text: "#4c5464", line: "#e3e6ec" }, dark: { text: "#b7bfce", line: "#2d323e" } };
const HEIGHT = 150;
const RELOAD_MS = 60_000;
/** Samples come every 5 minutes; a wider hole is a time without the headset. */
const GAP_S = 900;
const DAY_S = 24 * 3600;
/** A headset that has only just come has its first samples on a shorter axis. */
const LEAST_S = 3600;

export function Charts({ deviceId }: { deviceId: string }) {
  const [history, setHistory] = useState<DeviceTelemetry[] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    const load = (): void => {
      call<{ history: DeviceTelemetry[] }>("GET", `/api/devices/${deviceId}/history`).then(
        (answer) => {
          setHistory(answer.history);
          setProblem(null);
        },
        (error: unknown) => setProblem(problemOf(error)),
      );
    };
    load();
    const timer = setInterval(load, RELOAD_MS);
    return () => clearInterval(timer);
  }, [deviceId]);
  return (
    <section className={styles.card} aria-labelledby="day">
      <h2 id="day">Last 24 hours</h2>
      {problem !== null && <p role="alert">{problem}</p>}
      {history !== null && history.length === 0 && <p className={styles.soft}>No telemetry yet.</p>}
      {history !== null &&
        history.length > 0 && (
          <div className={styles.charts}>
            {CHARTS.map((chart) => (
              <Plot key={chart.title} chart={chart} history={history} />
            ))}
          </div>
        )}
    </section>
  );
}

/** Columns for uPlot, with a hole where the headset was away. */
function columns(chart: Chart, history: DeviceTelemetry[]): uPlot.AlignedData {
  const times: number[] = [];
  const values: (number | null)[][] = chart.lines.map(() => []);
  for (const sample of history) {
    const at = (sample.timestamp ?? 0) / 1000;
    const last = times.at(-1);
    if (last !== undefined && at - last > GAP_S) {
      times.push(last + 1);
      values.forEach((column) => column.push(null));
    }
    times.push(at);
    chart.lines.forEach((line, index) => values[index]?.push(line.value(sample) ?? null));
  }
  return [times, ...values];
}

function Plot({ chart, history }: { chart: Chart; history: DeviceTelemetry[] }) {
  const frame = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme("light");
  useEffect(() => {
    const target = frame.current;
    if (target === null) return undefined;
    const { text, line } = INK[scheme];
    const axis: uPlot.Axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
    const now = Date.now() / 1000;
    const first = (history[0]?.timestamp ?? 0) / 1000;
    const plot = new uPlot(
      {
        width: target.clientWidth,
        height: HEIGHT,
        padding: [8, 12, 0, 0],
        legend: { show: false },
        cursor: { drag: { x: false, y: false } },
        scales: {
          x: { range: [Math.max(now - DAY_S, Math.min(first, now - LEAST_S)), now] },
          y: chart.range === null ? {} : { range: chart.range },
        },
        axes: [axis, { ...axis, size: 52 }],
        series: [
          {},
          ...chart.lines.map(({ label, colour }) => ({
            label,
            stroke: COLOURS[scheme][colour] ?? text,
            width: 2,
            dash: colour === 0 ? [] : [6, 4],
            points: { show: history.length < 30, size: 5 },
          })),
        ],
      },
      columns(chart, history),
      target,
    );
    const observer = new ResizeObserver(() => plot.setSize({ width: target.clientWidth, height: HEIGHT }));
    observer.observe(target);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [chart, history, scheme]);
  return (
    <figure className={styles.chart}>
      <figcaption>
        <strong>{chart.title}</strong> in {chart.unit}
        {chart.lines.length > 1 &&
          chart.lines.map(({ label, colour }) => (
            <span key={label} className={styles.key} data-dashed={colour === 1} style={{ color: COLOURS[scheme][colour] }}>
              {label}
            </span>
          ))}
      </figcaption>
      <div ref={frame} role="img" aria-label={spoken(chart, history)} />
    </figure>
  );
}

function spoken(chart: Chart, history: DeviceTelemetry[]): string {
  const parts = chart.lines.map(({ label, value }) => {
    const known = history.map(value).filter((each) => each !== undefined);
    if (known.length === 0) return `${label} unknown`;
    const round = (number: number): string => number.toFixed(0);
    return `${label} between ${round(Math.min(...known))} and ${round(Math.max(...known))} ${chart.unit}`;
  });
  return `${chart.title}: ${parts.join(", ")}`;
}
