import { HTTP_RATE_LIMITS, RATE_LIMITS } from "@wire/events";
import { IconAlertOctagonFilled, IconCircleCheckFilled } from "@tabler/icons-react";
import { useEffect, useMemo, useState } from "react";

import { useConnection } from "../live/connection";
import { useFleet } from "../live/fleet";
import { useTablets } from "../live/tablets";
import { duration, plural } from "../ui/format";
import styles from "./settings-page.module.css";

interface Health {
  ok: boolean;
  version: string;
  uptime: number;
  memoryUsage: { rss: number };
  dependencies: Record<string, { ok: boolean; latencyMs?: number }>;
}

const POLL_MS = 5000;

/** What works, what is connected, in which versions. Also answers when something is down. */
export function HealthSection() {
  const [health, setHealth] = useState<Health | null>(null);
  const socket = useConnection((state) => state.status);
  useEffect(() => {
    const load = (): void => {
      // 503 has the same body: what is down is what one wants to see.
      fetch("/health", { cache: "no-store", signal: AbortSignal.timeout(POLL_MS) }).then(
        async (answer) => setHealth((await answer.json()) as Health),
        () => setHealth(null),
      );
    };
    load();
    const timer = setInterval(load, POLL_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <section className={styles.section} aria-labelledby="health">
      <h2 id="health">Health</h2>
      <ul className={styles.list}>
        <Part name="Server" ok={health !== null}>
          {health === null
            ? "does not answer"
            : `version ${health.version}, up for ${duration(health.uptime * 1000)}, ` +
              `${Math.round(health.memoryUsage.rss / 1048576)} MB of memory`}
        </Part>
        <Part name="Live connection" ok={socket === "online"}>
          {socket === "online" ? "open" : "lost, trying again"}
        </Part>
        {Object.entries(health?.dependencies ?? {}).map(([name, state]) => (
          <Part key={name} name={`${name[0]?.toUpperCase()}${name.slice(1)}`} ok={state.ok}>
            {state.ok ? `answers in ${state.latencyMs ?? "?"} ms` : "does not answer"}
          </Part>
        ))}
      </ul>
      <Connected />
      <Limits title="Rate limits of socket events" limits={RATE_LIMITS} />
      <Limits title="Rate limits of HTTP requests" limits={HTTP_RATE_LIMITS} />
    </section>
  );
}

type Limit = { max: number; windowMs: number };

function Limits({ title, limits }: { title: string; limits: Record<string, Limit> }) {
  return (
    <details className={styles.wide}>
      <summary className={styles.summary}>{title}</summary>
      <ul className={styles.rates}>
        {Object.entries(limits).map(([name, { max, windowMs }]) => (
          <li key={name}>
            <code>{name}</code> {max} per {windowMs / 1000} s
          </li>
        ))}
      </ul>
    </details>
  );
}

function Part({ name, ok, children }: { name: string; ok: boolean; children: React.ReactNode }) {
  const Icon = ok ? IconCircleCheckFilled : IconAlertOctagonFilled;
  return (
    <li className={styles.row}>
      <span className={ok ? styles.good : styles.bad}>
        <Icon size={20} aria-hidden /> {ok ? "Works" : "Down"}
      </span>
      <strong>{name}</strong>
      <span className={styles.soft}>{children}</span>
    </li>
  );
}

function Connected() {
  const devices = useFleet((state) => state.devices);
  const tablets = useTablets((state) => state.tablets);
  const text = useMemo(() => {
    const online = Object.values(devices).filter(({ isOnline }) => isOnline);
    const versions = new Map<string, number>();
    for (const { telemetry } of online) {
      const version = telemetry?.appVersion;
      if (version !== undefined) versions.set(version, (versions.get(version) ?? 0) + 1);
    }
    const apps = [...versions].sort().map(([version, count]) => `${count} with app ${version}`);
    const operators = tablets.filter(({ socketId }) => socketId).length;
    return [`${plural(online.length, "headset")} and ${plural(operators, "tablet")} connected`, ...apps].join(", ");
  }, [devices, tablets]);
  return <p className={styles.who}>{text}.</p>;
}
