import { Button } from "@mantine/core";
import {
  IconChevronLeft,
  IconChevronRight,
  IconFlag,
  IconPlayerPauseFilled,
  IconPlayerPlayFilled,
  IconPlayerTrackNextFilled,
  IconPlayerTrackPrevFilled,
  IconMinus,
  IconPlus,
  IconVideoOff,
} from "@tabler/icons-react";
import { useMemo, useRef, useState, type ReactNode } from "react";

import { useCommands } from "./keys";
import { Lanes, STEP, timeText, type Timeline } from "./lanes";
import {
  FLAG_LABELS,
  flagsAt,
  nextFlag,
  previousFlag,
  rateOf,
  whole,
  zoom,
  type Interval,
  type View,
} from "./lanes-math";
import type { Files, Recording } from "./list";
import styles from "./viewer.module.css";
import { SPEEDS, usePlayer } from "./use-player";

interface Props {
  recording: Recording;
  video: Files["video"];
  timeline: Timeline | null;
  /** The video's URL no longer works. */
  onExpired: () => Promise<void>;
}

/** A video is asked for again after an error, but not for ever. */
const RENEW_AFTER_MS = 60_000;

/** The video, and below it everything that was measured over its time. */
export function Viewer({ recording, video, timeline, onExpired }: Props) {
  const { extended } = recording;
  const frames = timeline?.frames ?? recording.stages.stage2_captureQuality.totalFrames;
  const rate = rateOf(timeline?.fps ?? extended.framesPerSecond, frames, extended.video?.durationSeconds ?? null);
  const intervals = useMemo(() => intervalsOf(timeline ? timeline.flagIntervals : extended.flagIntervals), [timeline, extended]);
  const player = usePlayer(frames, rate);
  const [view, setView] = useState<View>(() => whole(frames));
  const shown = flagsAt(intervals, player.frame);
  const step = stepOf(recording, rate);
  const change = (by: 1 | -1): void => {
    player.setSpeed(SPEEDS[SPEEDS.indexOf(player.speed) + by] ?? player.speed);
  };
  const actions = {
    slower: () => change(-1),
    faster: () => change(1),
    toggle: player.toggle,
    back: () => player.seek(player.frame - step),
    on: () => player.seek(player.frame + step),
    secondBack: () => player.seek(player.frame - rate),
    secondOn: () => player.seek(player.frame + rate),
    next: () => player.seek(nextFlag(intervals, player.frame)?.start ?? player.frame),
    previous: () => player.seek(previousFlag(intervals, player.frame)?.start ?? player.frame),
    zoomIn: () => setView(zoom(view, STEP, player.frame, frames)),
    zoomOut: () => setView(zoom(view, 1 / STEP, player.frame, frames)),
    all: () => setView(whole(frames)),
  };
  useCommands((event) => actionOf(event, actions));

  return (
    <>
      <div className={styles.stage}>
        {video === null ? (
          <p className={styles.none}>
            <IconVideoOff aria-hidden /> The video is missing
          </p>
        ) : (
          <Video url={video.url} player={player} onExpired={onExpired} />
        )}
        <div className={styles.flagged} aria-hidden>
          {shown.map((text) => (
            <span key={text}>{text}</span>
          ))}
        </div>
      </div>
      <div className={styles.transport} role="group" aria-label="Playing">
        <Key label="Previous flagged" keys="p" icon={<IconPlayerTrackPrevFilled aria-hidden />} onPress={actions.previous}
          disabled={previousFlag(intervals, player.frame) === null} />
        <Key label="A frame back" keys="ArrowLeft" icon={<IconChevronLeft aria-hidden />} onPress={actions.back} />
        <Key label={player.playing ? "Pause" : "Play"} keys="Space" onPress={actions.toggle} disabled={video === null}
          icon={player.playing ? <IconPlayerPauseFilled aria-hidden /> : <IconPlayerPlayFilled aria-hidden />} />
        <Key label="A frame on" keys="ArrowRight" icon={<IconChevronRight aria-hidden />} onPress={actions.on} />
        <Key label="Next flagged" keys="n" icon={<IconPlayerTrackNextFilled aria-hidden />} onPress={actions.next}
          disabled={nextFlag(intervals, player.frame) === null} />
        <Key label="Slower" keys="<" icon={<IconMinus aria-hidden />} onPress={actions.slower}
          disabled={player.speed === SPEEDS[0]} />
        <span className={styles.speed} aria-live="polite">
          <span className="sr-only">Speed </span>
          {player.speed}×
        </span>
        <Key label="Faster" keys=">" icon={<IconPlus aria-hidden />} onPress={actions.faster}
          disabled={player.speed === SPEEDS.at(-1)} />
        <span className={styles.where} data-frame={Math.floor(player.frame)}>
          <strong>{timeText(player.frame / rate)}</strong> frame {Math.floor(player.frame).toLocaleString()} of{" "}
          {frames.toLocaleString()}
        </span>
        <span className={styles.keys}>
          <kbd>Space</kbd> play <kbd>←</kbd> <kbd>→</kbd> frame <kbd>Shift</kbd> second <kbd>n</kbd> <kbd>p</kbd> flag{" "}
          <kbd>&lt;</kbd> <kbd>&gt;</kbd> speed <kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd> zoom <kbd>a</kbd> accept <kbd>r</kbd> reject <kbd>[</kbd> <kbd>]</kbd>{" "}
          recording
        </span>
      </div>
      {timeline === null ? (
        <p className={styles.none}>The tracking data is missing or cannot be read, so there is nothing to draw.</p>
      ) : (
        <Lanes timeline={timeline} intervals={intervals} rate={rate} frame={player.frame} onSeek={player.seek}
          view={view} onView={setView} />
      )}
      <FlagList intervals={intervals} total={extended.flagIntervalCount} rate={rate} frame={player.frame} onSeek={player.seek} />
    </>
  );
}

function intervalsOf(rows: [number, number, string][] | readonly (readonly unknown[])[]): Interval[] {
  return rows.map((row) => {
    const [start, end, flag] = row as [number, number, string];
    return { start, end, flag };
  });
}

/** A frame of the video, in frames of the data, of which there are more. */
function stepOf({ extended }: Recording, rate: number): number {
  const { frameCount, durationSeconds } = extended.video ?? {};
  if (!frameCount || !durationSeconds) return 1;
  return Math.max(1, (rate * durationSeconds) / frameCount);
}

interface VideoProps {
  url: string;
  player: ReturnType<typeof usePlayer>;
  onExpired: () => Promise<void>;
}

function Video({ url, player, onExpired }: VideoProps) {
  const [problem, setProblem] = useState(false);
  const renewedAt = useRef(0);
  const resume = useRef(0);
  const failed = (): void => {
    if (Date.now() - renewedAt.current < RENEW_AFTER_MS) {
      setProblem(true);
      return;
    }
    renewedAt.current = Date.now();
    resume.current = player.video.current?.currentTime ?? 0;
    // A URL of the same second is the same one, and is not tried again by itself.
    onExpired().then(() => player.video.current?.load(), () => setProblem(true));
  };
  return (
    <>
      <video
        ref={player.video}
        className={styles.video}
        src={url}
        preload="auto"
        playsInline
        muted
        aria-label="The recording"
        onClick={player.toggle}
        onError={failed}
        onLoadedMetadata={(event) => {
          if (resume.current > 0) event.currentTarget.currentTime = resume.current;
          resume.current = 0;
          setProblem(false);
        }}
      />
      {problem && (
        <p className={styles.none} role="alert">
          <IconVideoOff aria-hidden /> The video cannot be played
        </p>
      )}
    </>
  );
}

interface KeyProps {
  label: string;
  keys: string;
  icon: ReactNode;
  onPress: () => void;
  disabled?: boolean;
}

function Key({ label, keys, icon, onPress, disabled = false }: KeyProps) {
  return (
    <Button
      variant="default"
      px="sm"
      aria-label={label}
      aria-keyshortcuts={keys}
      title={`${label} (${keys === "ArrowLeft" ? "←" : keys === "ArrowRight" ? "→" : keys})`}
      disabled={disabled}
      onClick={(event) => {
        // Space is for playing, unless one came here by key.
        if (event.detail > 0) event.currentTarget.blur();
        onPress();
      }}
    >
      {icon}
    </Button>
  );
}

type Actions = Record<
  "slower" | "faster" | "toggle" | "back" | "on" | "secondBack" | "secondOn" | "next" | "previous" | "zoomIn" | "zoomOut" | "all",
  () => void
>;

function actionOf(event: KeyboardEvent, actions: Actions): (() => void) | null {
  const { key, shiftKey, target } = event;
  if (key === " ") return target instanceof HTMLElement && target.closest("button, a, summary") ? null : actions.toggle;
  if (key === "ArrowLeft") return shiftKey ? actions.secondBack : actions.back;
  if (key === "ArrowRight") return shiftKey ? actions.secondOn : actions.on;
  const others: Record<string, () => void> = {
    "<": actions.slower, ">": actions.faster, n: actions.next, p: actions.previous, "+": actions.zoomIn, "=": actions.zoomIn, "-": actions.zoomOut, "0": actions.all,
  };
  return others[key] ?? null;
}

interface FlagListProps {
  intervals: Interval[];
  total: number;
  rate: number;
  frame: number;
  onSeek: (frame: number) => void;
}

const LISTED = 200;

/** The same flags in words, for whom a chart is no use, and to go to with one tap. */
function FlagList({ intervals, total, rate, frame, onSeek }: FlagListProps) {
  const sorted = useMemo(() => [...intervals].sort((a, b) => a.start - b.start).slice(0, LISTED), [intervals]);
  return (
    <section className={styles.flags} aria-labelledby="flags">
      <h2 id="flags">
        <IconFlag size={20} aria-hidden /> {total === 0 ? "Nothing is flagged" : `${total} flagged`}
      </h2>
      <ul>
        {sorted.map(({ start, end, flag }) => (
          <li key={`${flag}${start}`}>
            <button type="button" aria-current={start <= frame && frame < end} onClick={() => onSeek(start)}>
              <strong>{timeText(start / rate)}</strong> {FLAG_LABELS[flag] ?? flag}
              <span>{((end - start) / rate).toFixed(2)} s</span>
            </button>
          </li>
        ))}
      </ul>
      {total > sorted.length && <p>The longest {sorted.length} are listed.</p>}
    </section>
  );
}
