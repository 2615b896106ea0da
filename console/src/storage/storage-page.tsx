import { Alert, Button, Loader, Table } from "@mantine/core";
import { IconAlertTriangle, IconRefresh } from "@tabler/icons-react";
import { useCallback, useEffect, useState, type ReactNode } from "react";

import { call, problemOf, type Schemas } from "../http";
import { localTime, plural } from "../ui/format";
import { Progress } from "../ui/progress";
import { dollars, gigabytes, growth, lastDays } from "./growth";
import styles from "./storage-page.module.css";

type Summary = Schemas["StatsSummary"];
type Status = Schemas["StatsStatusAnswer"];

const DAYS = 30;
const WEEK = 7;
const BUSY_MS = 1000;
const QUIET_MS = 15_000;
/** A first look at a large bucket takes a while. */
const PATIENCE_MS = 40_000;

interface Stored {
  summary: Summary | null;
  status: Status | null;
  problem: string | null;
  refresh: () => void;
}

function useStored(): Stored {
  const [summary, setSummary] = useState<Summary | null>(null);
  const [status, setStatus] = useState<Status | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const refreshing = status?.state === "refreshing";

  const load = useCallback(async (): Promise<void> => {
    try {
      setSummary(await call<Summary>("GET", "/api/s3-stats/summary", undefined, undefined, PATIENCE_MS));
      setProblem(null);
    } catch (error) {
      setProblem(problemOf(error));
    }
  }, []);
  const ask = useCallback(async (): Promise<void> => {
    try {
      setStatus(await call<Status>("GET", "/api/s3-stats/status"));
    } catch (error) {
      setProblem(problemOf(error));
    }
  }, []);
  // New numbers when a refresh has ended, and now and then for what was uploaded since.
  useEffect(() => {
    if (refreshing) return undefined;
    void load();
    const timer = setInterval(() => void load(), QUIET_MS);
    return () => clearInterval(timer);
  }, [load, refreshing]);
  useEffect(() => {
    void ask();
    const timer = setInterval(() => void ask(), refreshing ? BUSY_MS : QUIET_MS);
    return () => clearInterval(timer);
  }, [ask, refreshing]);

  const refresh = (): void => {
    setStatus((before) => before && { ...before, state: "refreshing", objectsRead: 0 });
    call<Status>("POST", "/api/s3-stats/refresh", undefined, undefined, PATIENCE_MS).then(
      setStatus,
      (error: unknown) => {
        setProblem(problemOf(error));
        void ask();
      },
    );
  };
  return { summary, status, problem, refresh };
}

/** What the bucket holds, what comes into it, and what it costs. */
export default function StoragePage() {
  const { summary, status, problem, refresh } = useStored();
  const refreshing = status?.state === "refreshing";
  return (
    <>
      <header className={styles.header}>
        <div>
          <h1>Storage</h1>
          <span className={styles.soft} role="status">
            {status === null ? "" : statusText(status)}
          </span>
        </div>
        <div className={styles.work}>
          {refreshing && <Progress label="Reading the bucket" done={status.objectsRead} total={expected(summary, status)} />}
          <Button variant="default" leftSection={<IconRefresh size={20} aria-hidden />} disabled={refreshing} onClick={refresh}>
            Read the bucket again
          </Button>
        </div>
      </header>
      {(problem ?? status?.error) != null && (
        <Alert color="red" icon={<IconAlertTriangle />} role="alert" my="md">
          {problem ?? status?.error}
        </Alert>
      )}
      {summary === null && problem === null && <Loader aria-label="Reading the bucket" m="xl" />}
      {summary !== null && (
        <div className={styles.sections}>
          <Numbers summary={summary} />
          <Growth summary={summary} />
          <Types summary={summary} />
          <Costs summary={summary} />
          <Incomplete summary={summary} />
          <Outputs summary={summary} />
        </div>
      )}
    </>
  );
}

function statusText({ state, updatedAt }: Status): string {
  if (state === "refreshing") return "The bucket is being read; the numbers are those from before.";
  return updatedAt === null ? "Counted as uploads end; the bucket itself was not read yet" : `Read ${localTime(updatedAt)}; uploads since then are counted`;
}

/** As many objects as last time, as long as there are not more. */
function expected(summary: Summary | null, { objectsRead }: Status): number {
  const before = summary?.overview.totalFiles ?? 0;
  return objectsRead > before ? 0 : before;
}

function Section({ id, title, children }: { id: string; title: string; children: ReactNode }) {
  return (
    <section className={styles.section} aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  );
}

function Numbers({ summary }: { summary: Summary }) {
  const { overview, sessionCount, completeCount, insights } = summary;
  const week = growth(lastDays(summary.timeline, WEEK, Date.now()));
  const numbers: [string, string, string][] = [
    ["Stored", gigabytes(overview.totalSizeGB), plural(overview.totalFiles, "file")],
    ["Growth", `${gigabytes(week)} a day`, "over the last 7 days"],
    ["Sessions", sessionCount.toLocaleString(), `${(sessionCount - completeCount).toLocaleString()} incomplete`],
    ["Usual video", gigabytes(insights.videoStats.medianGB), `up to ${gigabytes(insights.videoStats.maxGB)}`],
    ["Usual data file", gigabytes(insights.npzStats.medianMB / 1024), `up to ${gigabytes(insights.npzStats.maxMB / 1024)}`],
  ];
  return (
    <dl className={styles.numbers}>
      {numbers.map(([name, value, more]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <strong>{value}</strong>
            <span className={styles.soft}>{more}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Growth({ summary }: { summary: Summary }) {
  const days = lastDays(summary.timeline, DAYS, Date.now());
  const most = Math.max(...days.map(({ sizeGB }) => sizeGB));
  const sum = days.reduce((total, { sizeGB }) => total + sizeGB, 0);
  return (
    <Section id="growth" title="Stored per day">
      <p className={styles.soft}>
        {gigabytes(sum)} in the last {DAYS} days, {gigabytes(most)} on the busiest. Days are UTC.
      </p>
      <svg className={styles.bars} viewBox={`0 0 ${DAYS} 1`} preserveAspectRatio="none" role="img"
        aria-label={`Per day, up to ${gigabytes(most)}`}>
        {days.map((day, index) => (
          <rect key={day.date} x={index + 0.1} width="0.8" y={1 - share(day.sizeGB, most)} height={share(day.sizeGB, most)}>
            <title>
              {day.date}: {gigabytes(day.sizeGB)}, {plural(day.files, "file")}
            </title>
          </rect>
        ))}
      </svg>
      <div className={styles.axis} aria-hidden>
        <span>{days[0]?.date}</span>
        <span>{days.at(-1)?.date}</span>
      </div>
      <details>
        <summary className={styles.more}>As a table</summary>
        <div className={styles.scroll} tabIndex={0} role="region" aria-label="Stored per day as a table">
          <Table>
            <Table.Thead>
              <Table.Tr>
                {["Day", "Size", "Files", "Videos", "Data", "Outputs"].map((name) => (
                  <Table.Th key={name}>{name}</Table.Th>
                ))}
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {days.filter(({ files }) => files > 0).reverse().map((day) => (
                <Table.Tr key={day.date}>
                  <Table.Td>{day.date}</Table.Td>
                  <Table.Td>{gigabytes(day.sizeGB)}</Table.Td>
                  <Table.Td>{day.files}</Table.Td>
                  <Table.Td>{day.mp4Count}</Table.Td>
                  <Table.Td>{day.npzCount}</Table.Td>
                  <Table.Td>{day.zipCount}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </div>
      </details>
    </Section>
  );
}

function share(size: number, most: number): number {
  return most > 0 ? size / most : 0;
}

function Types({ summary }: { summary: Summary }) {
  const types = Object.entries(summary.byType).sort(([, a], [, b]) => b.sizeGB - a.sizeGB);
  return (
    <Section id="types" title="Files by type">
      {types.length === 0 && <p className={styles.soft}>The bucket is empty.</p>}
      <ul className={styles.rows}>
        {types.map(([type, { count, sizeGB, percentage }]) => (
          <li key={type} className={styles.type}>
            <strong>{type || "no extension"}</strong>
            <svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden>
              <rect width={percentage} height="1" />
            </svg>
            <span>{gigabytes(sizeGB)}</span>
            <span className={styles.soft}>
              {percentage.toFixed(1)} %, {plural(count, "file")}
            </span>
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Costs({ summary: { costs } }: { summary: Summary }) {
  const tiers: [string, number][] = [
    ["Standard", costs.currentMonthly],
    ["Intelligent tiering", costs.intelligentTiering],
    ["Glacier Deep Archive", costs.glacierDeepArchive],
  ];
  return (
    <Section id="costs" title="Costs per month">
      <p className={styles.soft}>At the list prices of Amazon S3, if all of it lay in one tier.</p>
      <ul className={styles.rows}>
        {tiers.map(([name, sum]) => (
          <li key={name} className={styles.row}>
            <span>{name}</span>
            <strong>{dollars(sum)}</strong>
          </li>
        ))}
        <li className={styles.row}>
          <span>A complete session, standard</span>
          <strong>{dollars(costs.costPerSession)}</strong>
        </li>
      </ul>
    </Section>
  );
}

function Incomplete({ summary }: { summary: Summary }) {
  const { newestIncomplete: rows, sessionCount, completeCount } = summary;
  const count = sessionCount - completeCount;
  return (
    <Section id="incomplete" title="Incomplete sessions">
      <p className={styles.soft}>
        {count === 0 ? "Every session has video and data." : `${plural(count, "session lacks", "sessions lack")} a file.`}
        {count > rows.length && ` The newest ${rows.length} are listed.`}
      </p>
      <ul className={styles.list} tabIndex={rows.length > 0 ? 0 : undefined} aria-label="Incomplete sessions">
        {rows.map((row) => (
          <li key={row.id} className={styles.row}>
            <strong>{row.id}</strong>
            <span className={styles.missing}>{missingOf(row)}</span>
            <span className={styles.soft}>{gigabytes(row.sizeGB)}</span>
          </li>
        ))}
      </ul>
    </Section>
  );
}

function missingOf({ hasMp4, hasNpz }: Schemas["SessionFiles"]): string {
  if (!hasMp4 && !hasNpz) return "video and data missing";
  return hasMp4 ? "data missing" : "video missing";
}

function Outputs({ summary }: { summary: Summary }) {
  const { newestOutputs: rows, outputCount, outputsGB } = summary;
  return (
    <Section id="outputs" title="Processed outputs">
      <p className={styles.soft}>
        {outputCount === 0 ? "None yet." : `${plural(outputCount, "file")}, ${gigabytes(outputsGB)}.`}
        {outputCount > rows.length && ` The newest ${rows.length} are listed.`}
      </p>
      <ul className={styles.list} tabIndex={rows.length > 0 ? 0 : undefined} aria-label="Processed outputs">
        {rows.map((row) => (
          <li key={row.name} className={styles.row}>
            <strong>{row.name}</strong>
            <span className={styles.soft}>{localTime(row.date)}</span>
            <span>{gigabytes(row.sizeGB)}</span>
          </li>
        ))}
      </ul>
    </Section>
  );
}
