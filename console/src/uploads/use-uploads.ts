/** Sessions with their files: asked for often while something moves, and when the server calls. */
import { useCallback, useEffect, useRef, useState } from "react";

import { call, problemOf, type Schemas } from "../http";
import { useConnection } from "../live/connection";
import { isMoving, type UploadSession } from "./progress";

const MOVING_MS = 3000;
const QUIET_MS = 15_000;
/** News come with every percent of every headset. */
const CALLED_MS = 1000;

interface Uploads {
  /** Null until the first answer. */
  sessions: UploadSession[] | null;
  problem: string | null;
  /** Ask for older ones; null when there are none. */
  older: (() => void) | null;
}

/** `sessionId`: only that one. */
export function useUploads(sessionId?: string): Uploads {
  const [page, setPage] = useState<Schemas["UploadPage"] | null>(null);
  const [more, setMore] = useState<Schemas["UploadPage"] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const wire = useConnection((state) => state.wire);
  const moving = useRef(true);

  useEffect(() => {
    const path = sessionId === undefined ? "/api/uploads" : `/api/uploads?sessionId=${encodeURIComponent(sessionId)}`;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let due = 0;
    let left = false;
    const later = (ms: number): void => {
      const at = Date.now() + ms;
      if (timer !== undefined && at >= due) return;
      clearTimeout(timer);
      due = at;
      timer = setTimeout(() => void load(), ms);
    };
    const load = async (): Promise<void> => {
      try {
        const got = await call<Schemas["UploadPage"]>("GET", path);
        if (left) return;
        moving.current = got.sessions.some((session) => isMoving(session, Date.now()));
        setPage(got);
        setProblem(null);
      } catch (error) {
        if (!left) setProblem(problemOf(error));
      }
      timer = undefined;
      if (!left) later(moving.current ? MOVING_MS : QUIET_MS);
    };
    const told = (): void => later(CALLED_MS);
    wire?.on("on-upload-progress", told);
    wire?.on("on-session-ended", told);
    void load();
    return () => {
      left = true;
      clearTimeout(timer);
      wire?.off("on-upload-progress", told);
      wire?.off("on-session-ended", told);
    };
  }, [sessionId, wire]);

  const next = (more ?? page)?.next ?? null;
  const older = useCallback(() => {
    if (next === null) return;
    call<Schemas["UploadPage"]>("GET", `/api/uploads?cursor=${encodeURIComponent(next)}`).then(
      (got) => setMore((before) => ({ ...got, sessions: [...(before?.sessions ?? []), ...got.sessions] })),
      (error: unknown) => setProblem(problemOf(error)),
    );
  }, [next]);

  const fresh = page?.sessions ?? null;
  const known = new Set(fresh?.map((session) => session.sessionId));
  const sessions = fresh && [...fresh, ...(more?.sessions ?? []).filter((session) => !known.has(session.sessionId))];
  return { sessions, problem, older: next === null || sessionId !== undefined ? null : older };
}
