import { Button, Modal, Textarea } from "@mantine/core";
import { IconThumbDown, IconThumbUp, IconUser } from "@tabler/icons-react";
import { useState, type FormEvent, type KeyboardEvent as ReactKey } from "react";

import { useName } from "../auth/credentials";
import { NameDialog } from "../auth/name-dialog";
import { call, problemOf, type Schemas } from "../http";
import { useCommands } from "./keys";
import type { Recording } from "./list";
import styles from "./review.module.css";

interface Props {
  sessionId: string;
  review: Recording["review"];
  onDecided: (review: Recording["review"]) => void;
}

/** What is rejected most often, with one tap. */
const REASONS = ["Hands out of view", "Wrong task", "Interrupted", "Bad tracking", "Test recording"];

/** Accept, reject with a reason, or take it back; `a` and `r` do the first two. */
export function Decide({ sessionId, review, onDecided }: Props) {
  const [asking, setAsking] = useState(false);
  /** What is to be done as soon as we know who does it. */
  const [waiting, setWaiting] = useState<"accept" | "reject" | "nothing" | null>(null);
  const name = useName();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);

  const decide = async (decision: "accepted" | "rejected" | null, reason = ""): Promise<void> => {
    setBusy(true);
    try {
      const path = `/api/qa-metrics/${encodeURIComponent(sessionId)}/review`;
      const answer = await call<Schemas["ReviewBody"]>("PUT", path, { decision, reason });
      onDecided(answer.review);
      setProblem(null);
      setAsking(false);
    } catch (error) {
      setProblem(problemOf(error));
    }
    setBusy(false);
  };
  const accept = (): void => {
    if (name === "") setWaiting("accept");
    else void decide("accepted");
  };
  const reject = (): void => {
    if (name === "") setWaiting("reject");
    else setAsking(true);
  };
  useCommands(({ key, repeat }) => {
    if (repeat || busy) return null;
    return key === "a" ? accept : key === "r" ? reject : null;
  });

  return (
    <div className={styles.buttons}>
      {problem !== null && (
        <span role="alert" className={styles.bad}>
          {problem}
        </span>
      )}
      {/* What comes and goes stands before the others, so that these stay under the finger. */}
      {name !== "" && (
        <Button variant="subtle" leftSection={<IconUser size={20} aria-hidden />} onClick={() => setWaiting("nothing")}>
          As {name}
        </Button>
      )}
      {review !== null && (
        <Button variant="default" disabled={busy} onClick={() => void decide(null)}>
          Take back
        </Button>
      )}
      <Button
        leftSection={<IconThumbUp size={20} aria-hidden />}
        disabled={busy}
        aria-keyshortcuts="a"
        onClick={(event) => {
          if (event.detail > 0) event.currentTarget.blur();
          accept();
        }}
      >
        Accept
      </Button>
      <Button
        color="red"
        variant="filled"
        leftSection={<IconThumbDown size={20} aria-hidden />}
        disabled={busy}
        aria-keyshortcuts="r"
        onClick={reject}
      >
        Reject …
      </Button>
      <NameDialog
        opened={waiting !== null}
        onClose={() => setWaiting(null)}
        onNamed={() => {
          if (waiting === "accept") void decide("accepted");
          else if (waiting === "reject") setAsking(true);
        }}
      />
      <Modal opened={asking} onClose={() => setAsking(false)} title="Reject this recording" size="lg"
        // Keys are commands again at once.
        transitionProps={{ duration: 0 }}>
        <Reason busy={busy} problem={problem} onReject={(reason) => void decide("rejected", reason)} />
      </Modal>
    </div>
  );
}

interface ReasonProps {
  busy: boolean;
  problem: string | null;
  onReject: (reason: string) => void;
}

function Reason({ busy, problem, onReject }: ReasonProps) {
  const [reason, setReason] = useState("");
  const send = (event?: FormEvent): void => {
    event?.preventDefault();
    if (reason.trim() !== "" && !busy) onReject(reason.trim());
  };
  const enter = (event: ReactKey): void => {
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    send();
  };
  return (
    <form className={styles.reason} onSubmit={send}>
      <div className={styles.presets}>
        {REASONS.map((text) => (
          <Button key={text} variant="default" onClick={() => setReason(text)}>
            {text}
          </Button>
        ))}
      </div>
      <Textarea
        label="Reason"
        description="Shown in the lists and in the audit log."
        autosize
        minRows={2}
        maxLength={1000}
        withAsterisk
        data-autofocus
        value={reason}
        onChange={(event) => setReason(event.currentTarget.value)}
        onKeyDown={enter}
      />
      {problem !== null && <span className={styles.bad}>{problem}</span>}
      <Button type="submit" color="red" disabled={reason.trim() === "" || busy}>
        Reject
      </Button>
    </form>
  );
}
