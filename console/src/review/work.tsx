import { Alert, Button, Modal } from "@mantine/core";
import { IconRefresh } from "@tabler/icons-react";
import { useCallback, useEffect, useState } from "react";

import { call, problemOf, type Schemas } from "../http";
import { localTime, plural } from "../ui/format";
import { Progress } from "../ui/progress";
import styles from "./review.module.css";

type Status = Schemas["QAStatus"];

const BUSY_MS = 1500;
const QUIET_MS = 15_000;

/** What is being measured, what could not be, and looking through the bucket again. */
export function Work() {
  const [status, setStatus] = useState<Status | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [showing, setShowing] = useState(false);
  const busy = status !== null && (status.queued + status.running > 0 || status.refreshing !== null);

  const load = useCallback(async (): Promise<void> => {
    try {
      setStatus(await call<Status>("GET", "/api/qa-metrics/status"));
      setProblem(null);
    } catch (error) {
      setProblem(problemOf(error));
    }
  }, []);
  useEffect(() => {
    void load();
    const timer = setInterval(() => void load(), busy ? BUSY_MS : QUIET_MS);
    return () => clearInterval(timer);
  }, [load, busy]);

  const act = async (path: string): Promise<void> => {
    try {
      await call("POST", path);
    } catch (error) {
      setProblem(problemOf(error));
      return;
    }
    await load();
  };
  return (
    <div className={styles.work}>
      {problem !== null && <Alert color="red">{problem}</Alert>}
      {status !== null && busy && (
        <span className={styles.soft} role="status">
          {plural(status.queued + status.running, "recording")} to measure
        </span>
      )}
      {status?.refreshing && (
        <Progress label="Looking through the bucket" done={status.refreshing.read} total={status.refreshing.total} />
      )}
      {status !== null && status.dead.length > 0 && (
        <Button variant="default" onClick={() => setShowing(true)}>
          {status.dead.length} could not be measured …
        </Button>
      )}
      <Button
        variant="default"
        leftSection={<IconRefresh size={20} aria-hidden />}
        disabled={status?.refreshing != null}
        onClick={() => void act("/api/qa-metrics/refresh")}
      >
        Measure what is new
      </Button>
      <Modal opened={showing} onClose={() => setShowing(false)} title="Could not be measured" size="lg">
        <ul className={styles.dead}>
          {status?.dead.map((job) => (
            <li key={job.id}>
              <div>
                <strong>{job.sessionId}</strong>
                <p className={styles.soft}>
                  {job.error}, tried {plural(job.attempts, "time")}, {localTime(job.at)}
                </p>
              </div>
              <Button
                variant="default"
                onClick={() => void act(`/api/qa-metrics/dead/${encodeURIComponent(job.id)}/retry`)}
              >
                Try again
              </Button>
            </li>
          ))}
        </ul>
      </Modal>
    </div>
  );
}
