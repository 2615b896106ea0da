import { Button, Modal, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";

import { problemOf } from "../http";
import { MOST_NAME, useName } from "./credentials";
import { introduce } from "./session";
import styles from "./sign-in.module.css";

interface Props {
  opened: boolean;
  onClose: () => void;
  /** The name is known from now on. */
  onNamed?: () => void;
}

/** Asks who uses the admin key in this browser: several people have the same one. */
export function NameDialog({ opened, onClose, onNamed }: Props) {
  return (
    <Modal opened={opened} onClose={onClose} title="Who are you?" transitionProps={{ duration: 0 }}>
      <NameForm
        onNamed={() => {
          onClose();
          onNamed?.();
        }}
      />
    </Modal>
  );
}

function NameForm({ onNamed }: { onNamed: () => void }) {
  const [name, setName] = useState(useName());
  const [problem, setProblem] = useState<string | null>(null);
  const send = (event: FormEvent): void => {
    event.preventDefault();
    if (name.trim() === "") return;
    introduce(name).then(onNamed, (error: unknown) => setProblem(problemOf(error)));
  };
  return (
    <form className={styles.form} onSubmit={send}>
      <TextInput
        label="Your name"
        description="Kept with what you decide or change, in the lists and in the audit log."
        autoComplete="name"
        maxLength={MOST_NAME}
        data-autofocus
        error={problem}
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <Button type="submit" disabled={name.trim() === ""}>
        That is me
      </Button>
    </form>
  );
}
