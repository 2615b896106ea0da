import { Button } from "@mantine/core";
import { IconZoomIn, IconZoomOut, IconZoomReset } from "@tabler/icons-react";
import { memo, useEffect, useMemo, useRef, useState, type PointerEvent, type ReactNode } from "react";

import type { Schemas } from "../http";
import {
  bandPath,
  FLAG_LABELS,
  FLAG_LANES,
  following,
  linePath,
  pan,
  whole,
  zoom,
  type Interval,
  type View,
} from "./lanes-math";
import styles from "./lanes.module.css";

export type Timeline = Schemas["QATimeline"];

interface Props {
  timeline: Timeline;
  intervals: Interval[];
  rate: number;
  /** Where one is. */
  frame: number;
  onSeek: (frame: number) => void;
  view: View;
  onView: (view: View) => void;
}

export const STEP = 2;

/** One above the other on one time: flags, and each hand's confidence with its dropouts. */
export function Lanes({ timeline, intervals, rate, frame, onSeek, view, onView }: Props) {
  const { frames } = timeline;
  const area = useGestures(frames, view, onView, onSeek);
  const shown = useRef({ view, onView });
  shown.current = { view, onView };
  useEffect(() => {
    // Who looks elsewhere is not called back before the cursor moves.
    const next = following(shown.current.view, frame, frames);
    if (next !== shown.current.view) shown.current.onView(next);
  }, [frame, frames]);
  const middle = frame >= view.from && frame <= view.to ? frame : (view.from + view.to) / 2;
  const box = `${view.from} 0 ${view.to - view.from} 1`;
  return (
    <section className={styles.lanes} aria-label="Over time">
      <div className={styles.tools}>
        <span className={styles.soft}>
          {timeText(view.from / rate)} to {timeText(view.to / rate)}
        </span>
        <ZoomButton label="Zoom in" icon={<IconZoomIn aria-hidden />} onPress={() => onView(zoom(view, STEP, middle, frames))} />
        <ZoomButton label="Zoom out" icon={<IconZoomOut aria-hidden />} onPress={() => onView(zoom(view, 1 / STEP, middle, frames))} />
        <ZoomButton label="Whole recording" icon={<IconZoomReset aria-hidden />} onPress={() => onView(whole(frames))} />
      </div>
      <div className={styles.names} aria-hidden>
        {FLAG_LANES.map((flag) => (
          <span key={flag}>{FLAG_LABELS[flag]}</span>
        ))}
        <span data-tall>Left hand</span>
        <span data-tall>Right hand</span>
      </div>
      <div className={styles.area} ref={area.ref} {...area.handlers} data-from={view.from} data-to={view.to}>
        {FLAG_LANES.map((flag) => (
          <FlagLane key={flag} flag={flag} intervals={intervals} box={box} onSeek={onSeek} />
        ))}
        <HandLane name="Left" lane={timeline.left} lost={timeline.dropouts.left} starts={timeline.starts} box={box} />
        <HandLane name="Right" lane={timeline.right} lost={timeline.dropouts.right} starts={timeline.starts} box={box} />
        <svg className={styles.cursor} viewBox={box} preserveAspectRatio="none" aria-hidden>
          <line x1={frame} x2={frame} y1="0" y2="1" />
        </svg>
      </div>
      <Overview intervals={intervals} frames={frames} frame={frame} view={view} onView={onView} />
    </section>
  );
}

/** A button that gives the keyboard back when it was pressed with a pointer. */
function ZoomButton({ label, icon, onPress }: { label: string; icon: ReactNode; onPress: () => void }) {
  return (
    <Button
      variant="default"
      px="sm"
      aria-label={label}
      onClick={(event) => {
        if (event.detail > 0) event.currentTarget.blur();
        onPress();
      }}
    >
      {icon}
    </Button>
  );
}

interface FlagLaneProps {
  flag: string;
  intervals: Interval[];
  box: string;
  onSeek: (frame: number) => void;
}

const FlagLane = memo(function FlagLane({ flag, intervals, box, onSeek }: FlagLaneProps) {
  const own = useMemo(() => intervals.filter((interval) => interval.flag === flag), [intervals, flag]);
  const label = `${FLAG_LABELS[flag]}: ${times(own.length)}`;
  return (
    <svg className={styles.flags} viewBox={box} preserveAspectRatio="none" role="img" aria-label={label} data-lane={flag}>
      {own.map(({ start, end }) => (
        <rect
          key={start}
          x={start}
          width={end - start}
          height="1"
          data-start={start}
          // The whole lane seeks to where one points; a flag to where it begins.
          onPointerDown={(event) => {
            event.stopPropagation();
            onSeek(start);
          }}
        />
      ))}
    </svg>
  );
});

function times(count: number): string {
  return count === 0 ? "never" : count === 1 ? "once" : `${count} times`;
}

interface HandLaneProps {
  name: string;
  lane: Timeline["left"];
  lost: [number, number][];
  starts: number[];
  box: string;
}

const HandLane = memo(function HandLane({ name, lane, lost, starts, box }: HandLaneProps) {
  const mean = useMemo(() => linePath(starts, lane.mean), [starts, lane]);
  const band = useMemo(() => bandPath(starts, lane.mean, lane.least), [starts, lane]);
  const least = lane.least.length === 0 ? "unknown" : `down to ${Math.min(...lane.least).toFixed(2)}`;
  return (
    <svg
      className={styles.hand}
      viewBox={box}
      preserveAspectRatio="none"
      role="img"
      aria-label={`${name} hand: confidence ${least}, lost ${times(lost.length)}`}
    >
      <line className={styles.bound} x1="0" x2="100000000" y1="0.2" y2="0.2" />
      {lost.map(([start, end]) => (
        <rect key={start} className={styles.lost} x={start} width={end - start} height="1" />
      ))}
      <path className={styles.band} d={band} />
      <path className={styles.mean} d={mean} />
    </svg>
  );
});

interface OverviewProps {
  intervals: Interval[];
  frames: number;
  frame: number;
  view: View;
  onView: (view: View) => void;
}

/** The whole recording, and which part of it is shown above. */
function Overview({ intervals, frames, frame, view, onView }: OverviewProps) {
  const show = (event: PointerEvent<SVGSVGElement>): void => {
    if (event.buttons === 0) return;
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const middle = ((event.clientX - left) / width) * frames;
    onView(pan(view, middle - (view.from + view.to) / 2, frames));
  };
  return (
    <svg
      className={styles.overview}
      viewBox={`0 0 ${Math.max(1, frames)} 1`}
      preserveAspectRatio="none"
      aria-hidden
      onPointerDown={show}
      onPointerMove={show}
    >
      {intervals.map(({ start, end, flag }) => (
        <rect key={`${flag}${start}`} className={styles.flagged} x={start} width={end - start} height="1" />
      ))}
      <rect className={styles.window} x={view.from} width={view.to - view.from} height="1" />
      <line x1={frame} x2={frame} y1="0" y2="1" />
    </svg>
  );
}

/** One finger seeks, two zoom and move; the wheel moves, with Ctrl it zooms. */
function useGestures(frames: number, view: View, onView: (view: View) => void, onSeek: (frame: number) => void) {
  const ref = useRef<HTMLDivElement>(null);
  const [fingers] = useState(() => new Map<number, number>());
  const now = useRef({ view, onView, onSeek, frames });
  now.current = { view, onView, onSeek, frames };

  const frameAt = (clientX: number): number => {
    const { left, width } = ref.current?.getBoundingClientRect() ?? { left: 0, width: 1 };
    const { from, to } = now.current.view;
    return from + ((clientX - left) / width) * (to - from);
  };
  useEffect(() => {
    const element = ref.current;
    if (element === null) return undefined;
    // React's own listener could not keep the page from being zoomed.
    const wheel = (event: WheelEvent): void => {
      const { view: shown, onView: show, frames: all } = now.current;
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        show(zoom(shown, Math.exp(-event.deltaY / 200), frameAt(event.clientX), all));
      } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        show(pan(shown, (event.deltaX / element.clientWidth) * (shown.to - shown.from), all));
      }
    };
    element.addEventListener("wheel", wheel, { passive: false });
    return () => element.removeEventListener("wheel", wheel);
  }, []);

  const pinch = (event: PointerEvent): void => {
    const before = [...fingers.values()];
    fingers.set(event.pointerId, event.clientX);
    const after = [...fingers.values()];
    const [a0 = 0, b0 = 0] = before;
    const [a1 = 0, b1 = 0] = after;
    const factor = Math.abs(b1 - a1) / Math.max(1, Math.abs(b0 - a0));
    onView(zoom(view, Math.min(2, Math.max(0.5, factor)), frameAt((a1 + b1) / 2), frames));
  };
  const gone = (event: PointerEvent): void => void fingers.delete(event.pointerId);
  const handlers = {
    onPointerDown: (event: PointerEvent<HTMLDivElement>) => {
      fingers.set(event.pointerId, event.clientX);
      event.currentTarget.setPointerCapture(event.pointerId);
      if (fingers.size === 1) onSeek(frameAt(event.clientX));
    },
    onPointerMove: (event: PointerEvent<HTMLDivElement>) => {
      if (!fingers.has(event.pointerId)) return;
      if (fingers.size === 2) pinch(event);
      else if (fingers.size === 1) onSeek(frameAt(event.clientX));
    },
    onPointerUp: gone,
    onPointerCancel: gone,
  };
  return { ref, handlers };
}

/** `01:02.345`. */
export function timeText(seconds: number): string {
  const whole_ = Math.floor(seconds);
  const two = (value: number): string => String(value).padStart(2, "0");
  const rest = Math.floor((seconds - whole_) * 1000);
  return `${two(Math.floor(whole_ / 60))}:${two(whole_ % 60)}.${String(rest).padStart(3, "0")}`;
}
