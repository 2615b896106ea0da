import { Alert, Button, Table, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconDownload, IconSearch } from "@tabler/icons-react";
import { useEffect, useState } from "react";

import { useAuth } from "../auth/credentials";
import { call, problemOf, type Schemas } from "../http";
import { useFleet } from "../live/fleet";
import { personOf } from "../live/tablets";
import { localTime } from "../ui/format";
import styles from "./settings-page.module.css";

type Entry = Schemas["AuditRow"];

const PAGE = 50;
const REFRESH_MS = 5000;

const WORDS: Record<string, string> = {
  lock: "took",
  unlock: "released",
  rename: "renamed",
  "recording.start": "started recording on",
  "recording.stop": "stopped recording on",
  "recording.toggle": "toggled recording on",
  "session.create": "created session",
  "session.start": "started session",
  "session.pause": "paused session",
  "session.end": "ended session",
  "session.discard": "discarded session",
  "review.accept": "accepted",
  "review.reject": "rejected",
  "review.clear": "took back the review of",
  "qa.refresh": "looked for new recordings in the",
  "qa.retry": "tried again to measure",
  "qa.cleanup": "forgot recordings that are gone from the",
  "tablet.pair": "was paired:",
  "tablet.revoke": "took access back from",
};

/** Who did what in the last 90 days. */
export function AuditSection() {
  const [typed, setTyped] = useState("");
  const [search] = useDebouncedValue(typed.trim(), 300);
  const [entries, setEntries] = useState<Entry[]>([]);
  const [next, setNext] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);

  const load = async (before: string): Promise<void> => {
    const query = new URLSearchParams({ search, before, limit: String(PAGE) });
    try {
      const page = await call<Schemas["AuditPage"]>("GET", `/api/audit?${query.toString()}`);
      setEntries((shown) => (before === "" ? page.entries : [...shown, ...page.entries]));
      setNext(page.next);
      setProblem(null);
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  // A new search starts at the newest entry.
  useEffect(() => void load(""), [search]);
  // New entries come in by themselves until somebody pages back.
  const paged = entries.length > PAGE;
  useEffect(() => {
    if (paged) return;
    const timer = setInterval(() => void load(""), REFRESH_MS);
    return () => clearInterval(timer);
  }, [search, paged]);

  return (
    <section className={styles.section} aria-labelledby="audit">
      <h2 id="audit">Audit log</h2>
      {problem !== null && <Alert color="red">{problem}</Alert>}
      <div className={styles.tools}>
        <TextInput
          className={styles.grow ?? ""}
          aria-label="Search the audit log"
          placeholder="Search who, what, headset, session"
          leftSection={<IconSearch size={20} aria-hidden />}
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
        />
        <Button
          variant="default"
          leftSection={<IconDownload size={20} aria-hidden />}
          onClick={() => download(typed.trim()).catch((error: unknown) => setProblem(problemOf(error)))}
        >
          Export as CSV
        </Button>
      </div>
      <div className={styles.scroll} tabIndex={0} role="region" aria-label="Audit log entries">
        <Table verticalSpacing="sm">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>When</Table.Th>
              <Table.Th>Who</Table.Th>
              <Table.Th>What</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {entries.map((entry) => (
              <AuditLine key={entry.id} entry={entry} />
            ))}
          </Table.Tbody>
        </Table>
        {entries.length === 0 && <p className={styles.soft}>Nothing found.</p>}
      </div>
      {next !== null && (
        <Button variant="default" onClick={() => void load(next)}>
          Older
        </Button>
      )}
    </section>
  );
}

function AuditLine({ entry }: { entry: Entry }) {
  const name = useFleet((state) => state.devices[entry.subject]?.customName);
  const what = WORDS[entry.action] ?? entry.action;
  const subject = entry.action === "tablet.pair" || entry.action === "tablet.revoke" ? entry.detail : (name ?? entry.subject);
  return (
    <Table.Tr>
      <Table.Td className={styles.when ?? ""}>{localTime(entry.at)}</Table.Td>
      <Table.Td>
        {personOf(entry.actor, entry.name)}
        {entry.actor === "admin" && entry.name !== "" && ", admin"}
      </Table.Td>
      <Table.Td>
        {what} <strong>{subject}</strong>
        {entry.action === "rename" && ` to “${entry.detail}”`}
        {(entry.action === "session.end" || entry.action === "review.reject") && entry.detail !== "" && `: ${entry.detail}`}
      </Table.Td>
    </Table.Tr>
  );
}

async function download(search: string): Promise<void> {
  const { credentials } = useAuth.getState();
  if (credentials?.kind !== "admin") return;
  const answer = await fetch(`/api/audit.csv?${new URLSearchParams({ search }).toString()}`, {
    headers: { "X-API-Key": credentials.key },
  });
  if (!answer.ok) throw new Error(`The export was refused (${answer.status}).`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = "audit.csv";
  link.click();
  URL.revokeObjectURL(link.href);
}
