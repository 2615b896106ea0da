import { IconChecklist, IconDatabase, IconDeviceVisionPro, IconPlugConnectedX, IconSettings, IconUpload, IconVideo } from "@tabler/icons-react";
import type { ComponentType, ReactNode } from "react";
import { Link, useLocation } from "wouter";

import { useAuth } from "../auth/credentials";
import { recordedMs, useCapture } from "../capture/store";
import icon from "../icon.svg";
import { useConnection } from "../live/connection";
import { useNow } from "../live/now";
import { clock, duration, plural } from "./format";
import styles from "./shell.module.css";

interface Page {
  to: string;
  label: string;
  icon: ComponentType<{ "aria-hidden": true }>;
  /** Only with the admin key. */
  manager?: true;
}

const PAGES: Page[] = [
  { to: "/capture", label: "Capture", icon: IconVideo },
  { to: "/fleet", label: "Fleet", icon: IconDeviceVisionPro },
  { to: "/uploads", label: "Uploads", icon: IconUpload },
  { to: "/review", label: "Review", icon: IconChecklist, manager: true },
  { to: "/storage", label: "Storage", icon: IconDatabase, manager: true },
  { to: "/settings", label: "Settings", icon: IconSettings },
];

export function Shell({ children }: { children: ReactNode }) {
  const [at] = useLocation();
  const kind = useAuth(({ credentials }) => credentials?.kind);
  const pages = PAGES.filter(({ manager }) => !manager || kind === "admin");
  return (
    <div className={styles.shell}>
      <nav className={styles.nav} aria-label="Pages">
        <div className={styles.logo}>
          <img src={icon} alt="" />
        </div>
        {pages.map(({ to, label, icon: Icon }) => (
          <Link key={to} to={to} className={styles.link} aria-current={at.startsWith(to) ? "page" : undefined}>
            <Icon aria-hidden />
            {label}
          </Link>
        ))}
      </nav>
      <div className={styles.content}>
        <ConnectionBanner />
        {!at.startsWith("/capture") && <RecordingBar />}
        <main className={styles.main}>{children}</main>
      </div>
    </div>
  );
}

/** Everything below it is as it was when the connection was lost. */
function ConnectionBanner() {
  const { status, lostAt } = useConnection();
  const now = useNow();
  if (status !== "lost" || lostAt === null) return null;
  return (
    <div className={styles.banner} role="alert">
      <IconPlugConnectedX aria-hidden />
      <span>
        No connection to the server for {duration(Math.max(0, now - lostAt))}. Trying again; headsets keep
        recording meanwhile. What you see is not live.
      </span>
    </div>
  );
}

/** On every other page: this tablet is in the middle of a take. */
function RecordingBar() {
  const { session, timing } = useCapture();
  const now = useNow();
  if (session === null || session.status === "pending") return null;
  return (
    <Link to="/capture" className={styles.recording} data-paused={session.status === "paused"}>
      <strong>{session.status === "paused" ? "Paused" : "Recording"}</strong> {clock(recordedMs(timing, now))} on{" "}
      {plural(session.deviceIds.length, "headset")}: go to the take
    </Link>
  );
}
