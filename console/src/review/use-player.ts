/** Where in a recording one is: the video's time while there is one, else what was last chosen. */
import { useCallback, useEffect, useRef, useState, type RefObject } from "react";

export interface Player {
  video: RefObject<HTMLVideoElement | null>;
  /** Frame of the data, with a fraction. */
  frame: number;
  playing: boolean;
  seek: (frame: number) => void;
  toggle: () => void;
  /** How fast it plays, one of SPEEDS. */
  speed: number;
  setSpeed: (speed: number) => void;
}

export const SPEEDS = [0.25, 0.5, 1, 2, 4];

/** `rate`: frames of the data per second; the video is taken to begin with the data. */
export function usePlayer(frames: number, rate: number): Player {
  const video = useRef<HTMLVideoElement | null>(null);
  const [frame, setFrame] = useState(0);
  const [playing, setPlaying] = useState(false);
  const [speed, setSpeed] = useState(1);

  const seek = useCallback(
    (wanted: number): void => {
      const to = Math.min(Math.max(0, wanted), Math.max(0, frames - 1));
      setFrame(to);
      const element = video.current;
      // A hair into the frame: its very beginning may show the one before.
      if (element !== null) element.currentTime = to / rate + 1e-3;
    },
    [frames, rate],
  );

  const toggle = useCallback((): void => {
    const element = video.current;
    if (element === null) return;
    if (element.paused) element.play().catch(() => undefined); // the element reports its error itself
    else element.pause();
  }, []);

  useEffect(() => {
    if (video.current === null) return;
    // The default is what a video that is loaded again begins with.
    video.current.defaultPlaybackRate = speed;
    video.current.playbackRate = speed;
  }, [speed]);

  useEffect(() => {
    const element = video.current;
    if (element === null) return undefined;
    let next = 0;
    const follow = (): void => {
      setFrame(Math.min(element.currentTime * rate, Math.max(0, frames - 1)));
      next = requestAnimationFrame(follow);
    };
    const started = (): void => {
      setPlaying(true);
      cancelAnimationFrame(next);
      next = requestAnimationFrame(follow);
    };
    const ended = (): void => {
      setPlaying(false);
      cancelAnimationFrame(next);
    };
    element.addEventListener("play", started);
    element.addEventListener("pause", ended);
    element.addEventListener("ended", ended);
    return () => {
      cancelAnimationFrame(next);
      element.removeEventListener("play", started);
      element.removeEventListener("pause", ended);
      element.removeEventListener("ended", ended);
    };
  }, [frames, rate]);

  return { video, frame, playing, seek, toggle, speed, setSpeed };
}
