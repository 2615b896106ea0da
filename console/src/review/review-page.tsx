import { Alert, Button, Select } from "@mantine/core";
import { IconAlertTriangle, IconChevronRight } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { Link } from "wouter";

import { problemOf } from "../http";
import { useConnection } from "../live/connection";
import { useFleet } from "../live/fleet";
import { clock, localTime, plural } from "../ui/format";
import { takeTitle } from "../ui/take";
import { Toggles } from "../ui/toggles";
import { ReviewBadge, VerdictBadge } from "./badges";
import { DECISIONS, loadPage, recordedAt, sentence, useList, VERDICTS, type Decision, type Recording, type Sort } from "./list";
import styles from "./review.module.css";
import { Work } from "./work";

const DECISION_WORDS: Record<Decision, string> = { open: "Open", accepted: "Accepted", rejected: "Rejected" };
const SORTS: { value: Sort; label: string }[] = [
  { value: "-date", label: "Newest first" },
  { value: "date", label: "Oldest first" },
  { value: "score", label: "Lowest score first" },
  { value: "-score", label: "Highest score first" },
  { value: "-verdict", label: "Worst verdict first" },
];
const DAYS = [
  { value: "0", label: "Any time" },
  { value: "1", label: "Last 24 hours" },
  { value: "7", label: "Last 7 days" },
  { value: "30", label: "Last 30 days" },
];
/** A refresh tells of hundreds a second. */
const CALLED_MS = 1000;

interface Found {
  rows: Recording[];
  next: string | null;
  total: number;
}

/** What was recorded, how good it is, and what people have decided on it. */
export default function ReviewPage() {
  const { verdicts, decisions, days, sort } = useList();
  const [found, setFound] = useState<Found | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const calls = useCalls();

  useEffect(() => {
    let left = false;
    loadPage({ verdicts, decisions, days, sort }).then(
      ({ sessions, next, total }) => {
        if (left) return;
        setFound({ rows: sessions, next, total });
        setProblem(null);
      },
      (error: unknown) => !left && setProblem(problemOf(error)),
    );
    return () => {
      left = true;
    };
  }, [verdicts, decisions, days, sort, calls]);
  useEffect(() => {
    if (found !== null) useList.setState({ ids: found.rows.map(({ sessionId }) => sessionId) });
  }, [found]);

  const more = (): void => {
    if (found?.next == null) return;
    loadPage({ verdicts, decisions, days, sort }, found.next).then(
      ({ sessions, next, total }) => {
        const known = new Set(found.rows.map(({ sessionId }) => sessionId));
        const news = sessions.filter(({ sessionId }) => !known.has(sessionId));
        setFound({ rows: [...found.rows, ...news], next, total });
      },
      (error: unknown) => setProblem(problemOf(error)),
    );
  };

  return (
    <>
      <header className={styles.header}>
        <h1>Review</h1>
        <Work />
      </header>
      <div className={styles.filters}>
        <Toggles
          label="Verdict"
          options={VERDICTS.map((value) => ({ value, label: value }))}
          chosen={verdicts}
          onChoose={(chosen) => useList.setState({ verdicts: chosen })}
        />
        <Toggles
          label="Decision"
          options={DECISIONS.map((value) => ({ value, label: DECISION_WORDS[value] }))}
          chosen={decisions}
          onChoose={(chosen) => useList.setState({ decisions: chosen })}
        />
        <Select
          aria-label="Recorded"
          data={DAYS}
          allowDeselect={false}
          value={String(days)}
          onChange={(value) => useList.setState({ days: Number(value) })}
        />
        <Select
          aria-label="Order"
          data={SORTS}
          allowDeselect={false}
          value={sort}
          onChange={(value) => useList.setState({ sort: value as Sort })}
        />
      </div>
      {problem !== null && (
        <Alert color="red" icon={<IconAlertTriangle />} role="alert" my="md">
          {problem}
        </Alert>
      )}
      {found !== null && (
        <p className={styles.soft} role="status">
          {found.total === 0 ? "No recording is like this." : plural(found.total, "recording")}
        </p>
      )}
      <ul className={styles.list}>
        {found?.rows.map((row) => (
          <Row key={row.sessionId} row={row} />
        ))}
      </ul>
      {found?.next != null && (
        <Button variant="default" mt="md" onClick={more}>
          More
        </Button>
      )}
    </>
  );
}

/** Goes up when new results came. */
function useCalls(): number {
  const wire = useConnection((state) => state.wire);
  const [calls, setCalls] = useState(0);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const called = (): void => {
      timer ??= setTimeout(() => {
        timer = undefined;
        setCalls((count) => count + 1);
      }, CALLED_MS);
    };
    wire?.on("on-qa-completed", called);
    return () => {
      clearTimeout(timer);
      wire?.off("on-qa-completed", called);
    };
  }, [wire]);
  return calls;
}

function Row({ row }: { row: Recording }) {
  const { sessionId, verdict, reasons, extended, take } = row;
  const name = useFleet((state) => state.devices[extended.deviceId]?.customName);
  const at = recordedAt(sessionId);
  const [first, ...others] = reasons;
  return (
    <li>
      <Link to={`/review/${sessionId}`} className={styles.row} data-session={sessionId}>
        <span className={styles.score} data-verdict={verdict}>
          {row.overallQualityScore.toFixed(0)}
          <span className="sr-only"> points</span>
        </span>
        <span className={styles.what}>
          <strong>{at === null ? sessionId : localTime(new Date(at).toISOString())}</strong>
          <span className={styles.soft}>
            {name ?? (extended.deviceId || "Unknown headset")}
            {extended.durationSeconds !== null && `, ${clock(extended.durationSeconds * 1000)}`}
          </span>
          {take !== null && <span>{takeTitle(take.participant, take.task, take.number)}</span>}
        </span>
        <VerdictBadge verdict={verdict} />
        <span className={styles.why}>
          {first === undefined ? "Nothing to complain of" : sentence(first)}
          {others.length > 0 && <span className={styles.soft}> and {plural(others.length, "more reason")}</span>}
        </span>
        <ReviewBadge review={row.review} short />
        <IconChevronRight className={styles.chevron ?? ""} aria-hidden />
      </Link>
    </li>
  );
}
