import { Alert, Anchor, Button, Loader } from "@mantine/core";
import { IconAlertTriangle, IconArrowLeft, IconChevronLeft, IconChevronRight, IconTrash } from "@tabler/icons-react";
import { useCallback, useEffect, useState } from "react";
import { Link, useLocation } from "wouter";

import { call, problemOf } from "../http";
import { useFleet } from "../live/fleet";
import { bytes, localTime } from "../ui/format";
import { takeTitle, textOf } from "../ui/take";
import { ReviewBadge, VerdictBadge } from "./badges";
import { Decide } from "./decide";
import { useCommands } from "./keys";
import type { Timeline } from "./lanes";
import { neighbours, recordedAt, sentence, useList, type Files, type Recording } from "./list";
import styles from "./review.module.css";
import { Viewer } from "./viewer";

interface Loaded {
  recording: Recording;
  files: Files;
  /** Null when the data cannot be read. */
  timeline: Timeline | null;
  /** Null when it was not recorded in a session, or that was forgotten, after 7 days. */
  capture: Capture | null;
}

interface Capture {
  metadata: Record<string, unknown>;
  discardedAt?: string;
}

async function captureOf({ captureSessionId: id }: Recording): Promise<Capture | null> {
  if (id === null) return null;
  // Decided on without it, too.
  const path = `/api/sessions/${encodeURIComponent(id)}`;
  return call<{ session: Capture }>("GET", path).then(({ session }) => session, () => null);
}

/** One recording: what can be seen, what was measured, and the decision. */
export default function SessionPage({ sessionId }: { sessionId: string }) {
  const [loaded, setLoaded] = useState<Loaded | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const path = `/api/qa-metrics/${encodeURIComponent(sessionId)}`;

  useEffect(() => {
    let left = false;
    const load = async (): Promise<Loaded> => {
      const [[recording, capture], files, timeline] = await Promise.all([
        call<Recording>("GET", path).then(async (found) => [found, await captureOf(found)] as const),
        call<Files>("GET", `${path}/files`),
        // A recording whose data is damaged still has a video and a verdict.
        call<Timeline>("GET", `${path}/timeline`).catch(() => null),
      ]);
      return { recording, files, timeline, capture };
    };
    load().then(
      (all) => !left && setLoaded(all),
      (error: unknown) => !left && setProblem(problemOf(error)),
    );
    return () => {
      left = true;
    };
  }, [path]);

  const renew = useCallback(async (): Promise<void> => {
    const files = await call<Files>("GET", `${path}/files`);
    setLoaded((before) => before && { ...before, files });
  }, [path]);
  const decided = (review: Recording["review"]): void => {
    setLoaded((before) => before && { ...before, recording: { ...before.recording, review } });
  };

  return (
    <div className={styles.page}>
      <Top sessionId={sessionId} />
      {problem !== null && (
        <Alert color="red" icon={<IconAlertTriangle />} role="alert">
          {problem}
        </Alert>
      )}
      {loaded === null && problem === null && <Loader aria-label="Loading the recording" />}
      {loaded !== null && (
        <>
          <Head recording={loaded.recording} capture={loaded.capture} onDecided={decided} />
          <Viewer
            recording={loaded.recording}
            video={loaded.files.video}
            timeline={loaded.timeline}
            onExpired={renew}
          />
          <Facts recording={loaded.recording} files={loaded.files} />
        </>
      )}
    </div>
  );
}

function Top({ sessionId }: { sessionId: string }) {
  const ids = useList((state) => state.ids);
  const { before, after } = neighbours(ids, sessionId);
  const [, navigate] = useLocation();
  useCommands(({ key }) => {
    const to = key === "[" ? before : key === "]" ? after : null;
    return to === null ? null : () => navigate(`/review/${to}`);
  });
  return (
    <nav className={styles.top} aria-label="Recordings">
      <Anchor component={Link} to="/review" className={styles.back ?? ""}>
        <IconArrowLeft size={20} aria-hidden /> Review
      </Anchor>
      <Button.Group>
        <Neighbour to={before} label="Previous" icon={<IconChevronLeft size={20} aria-hidden />} />
        <Neighbour to={after} label="Next" icon={<IconChevronRight size={20} aria-hidden />} />
      </Button.Group>
    </nav>
  );
}

function Neighbour({ to, label, icon }: { to: string | null; label: string; icon: React.ReactNode }) {
  const [, navigate] = useLocation();
  return (
    <Button
      variant="default"
      leftSection={icon}
      disabled={to === null}
      onClick={() => to !== null && navigate(`/review/${to}`)}
    >
      {label}
    </Button>
  );
}

interface HeadProps {
  recording: Recording;
  capture: Capture | null;
  onDecided: (review: Recording["review"]) => void;
}

function Head({ recording, capture, onDecided }: HeadProps) {
  const { sessionId, verdict, reasons, extended, review } = recording;
  const at = recordedAt(sessionId);
  const name = useFleet((state) => state.devices[extended.deviceId]?.customName);
  return (
    <header className={styles.head}>
      <div className={styles.title}>
        <span className={styles.score} data-verdict={verdict}>
          {recording.overallQualityScore.toFixed(0)}
          <span className="sr-only"> points</span>
        </span>
        <div>
          <h1>{at === null ? sessionId : localTime(new Date(at).toISOString())}</h1>
          <span className={styles.soft}>{name ?? (extended.deviceId || "Unknown headset")}</span>
        </div>
        <VerdictBadge verdict={verdict} />
      </div>
      {reasons.length > 0 && (
        <ul className={styles.reasons} aria-label="Reasons of the verdict">
          {reasons.map((reason) => (
            <li key={reason}>{sentence(reason)}</li>
          ))}
        </ul>
      )}
      <Take take={recording.take} capture={capture} />
      <div className={styles.decision}>
        <div role="status">
          <ReviewBadge review={review} />
        </div>
        <Decide sessionId={sessionId} review={review} onDecided={onDecided} />
      </div>
    </header>
  );
}

/** What its operator wrote down: whether it is the right task cannot be seen in the video alone. */
function Take({ take, capture }: { take: Recording["take"]; capture: Capture | null }) {
  if (take === null && capture === null) return null;
  return (
    <div className={styles.take} aria-label="Take" role="group">
      {take !== null && (
        <>
          <strong>{takeTitle(take.participant, take.task, take.number)}</strong>
          <span>{take.study}</span>
        </>
      )}
      {capture !== null && <span>{textOf(capture.metadata, "notes")}</span>}
      {capture?.discardedAt !== undefined && (
        <span className={styles.bad}>
          <IconTrash size={18} aria-hidden /> Discarded by its operator, {localTime(capture.discardedAt)}
        </span>
      )}
    </div>
  );
}

function Facts({ recording, files }: { recording: Recording; files: Files }) {
  const { stages, extended } = recording;
  const capture = stages.stage2_captureQuality;
  const tests = stages.stage10_validationTests;
  const tracking = stages.stage12_trackingConfidence;
  const yes = (good: boolean): string => (good ? "passed" : "failed");
  const rows: [string, string][] = [
    ["Capture quality", `${capture.score.toFixed(1)} points, ${capture.validFramesPercent.toFixed(1)} % of ${capture.totalFrames.toLocaleString()} frames valid`],
    ["Both hands missing", `${capture.bothHandsNotInFramePercent.toFixed(1)} %`],
    ["Too fast", `${capture.handSpeedExceededPercent.toFixed(1)} %`],
    ["Tracking errors", `${capture.trackingErrorsPercent.toFixed(1)} %`],
    ["Tracking confidence", `${tracking.score.toFixed(1)} points, left ${tracking.leftHandAvgConfidence.toFixed(3)}, right ${tracking.rightHandAvgConfidence.toFixed(3)}`],
    ["Checks", `file ${yes(tests.npzIntegrityCheck)}, frame count ${yes(tests.frameCountCheck)}, times ${yes(tests.timestampConsistency)}`],
    ["Dropouts", `left ${extended.hands.left.dropouts}, right ${extended.hands.right.dropouts}`],
    ["Files", `video ${files.video ? bytes(files.video.bytes) : "missing"}, data ${files.data ? bytes(files.data.bytes) : "missing"}`],
    ["App", extended.appVersion || "–"],
    ["Recording", recording.sessionId],
  ];
  return (
    <section className={styles.card} aria-labelledby="facts">
      <h2 id="facts">Measured</h2>
      <dl className={styles.facts}>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {files.data !== null && (
        <Anchor href={files.data.url} download className={styles.back ?? ""}>
          Download the tracking data
        </Anchor>
      )}
    </section>
  );
}
