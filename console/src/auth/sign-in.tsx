import { Alert, Button, Checkbox, Loader, PasswordInput, SegmentedControl, TextInput } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useEffect, useRef, useState, type FormEvent } from "react";
import { useLocation } from "wouter";

import icon from "../icon.svg";
import { problemOf } from "../http";
import { useAuth } from "./credentials";
import { pairTablet, signInAsManager } from "./session";
import styles from "./sign-in.module.css";

type Who = "tablet" | "manager";

interface Props {
  /** From a link: signs in without typing. */
  adminKey?: string;
  code?: string;
}

/** For an operator with a code, a manager with the admin key, or anyone with a link that has either. */
export function SignIn({ adminKey, code }: Props) {
  const [who, setWho] = useState<Who>(adminKey === undefined ? "tablet" : "manager");
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(adminKey !== undefined || code !== undefined);
  const ended = useAuth((state) => state.ended);
  const [, navigate] = useLocation();
  const linkUsed = useRef("");

  const attempt = async (work: () => Promise<void>, to: string): Promise<void> => {
    setBusy(true);
    setProblem(null);
    try {
      await work();
      navigate(to, { replace: true });
    } catch (error) {
      setProblem(problemOf(error));
      setBusy(false);
    }
  };

  useEffect(() => {
    const link = adminKey ?? code ?? "";
    if (linkUsed.current === link) return;
    linkUsed.current = link;
    if (adminKey !== undefined) void attempt(() => signInAsManager(adminKey, true), "/fleet");
    else if (code !== undefined) void attempt(() => pairTablet(code), "/");
  });

  return (
    <main className={styles.page}>
      <div className={styles.card}>
        <div className={styles.brand}>
          <img src={icon} alt="" />
          Quest fleet
        </div>
        <h1>{who === "tablet" ? "Pair this tablet" : "Sign in"}</h1>
        {(problem ?? ended) !== null && (
          <Alert color="red" icon={<IconAlertTriangle />} role="alert">
            {problem ?? ended}
          </Alert>
        )}
        {busy ? (
          <Loader aria-label="Signing in" />
        ) : who === "tablet" ? (
          <CodeForm onSend={(typed) => void attempt(() => pairTablet(typed), "/")} />
        ) : (
          <KeyForm onSend={(key, keep) => void attempt(() => signInAsManager(key, keep), "/fleet")} />
        )}
        <SegmentedControl
          aria-label="Who you are"
          size="md"
          fullWidth
          value={who}
          disabled={busy}
          onChange={(value) => {
            setWho(value as Who);
            setProblem(null);
          }}
          data={[
            { value: "tablet", label: "Operator's tablet" },
            { value: "manager", label: "Manager" },
          ]}
        />
      </div>
    </main>
  );
}

function CodeForm({ onSend }: { onSend: (code: string) => void }) {
  const [code, setCode] = useState("");
  const typed = code.replace(/[\s-]/g, "");
  const send = (event: FormEvent): void => {
    event.preventDefault();
    if (typed.length > 0) onSend(typed);
  };
  return (
    <form className={styles.form} onSubmit={send}>
      <TextInput
        className={styles.code ?? ""}
        label="Code"
        description="A manager finds it under Settings, Pair a tablet."
        placeholder="ABCD-2345"
        value={code}
        onChange={(event) => setCode(event.currentTarget.value)}
        autoComplete="off"
        autoCapitalize="characters"
        spellCheck={false}
        maxLength={12}
        data-autofocus
      />
      <Button type="submit" size="lg" disabled={typed.length < 8}>
        Pair
      </Button>
    </form>
  );
}

function KeyForm({ onSend }: { onSend: (key: string, remember: boolean) => void }) {
  const [key, setKey] = useState("");
  const [remember, setRemember] = useState(false);
  const send = (event: FormEvent): void => {
    event.preventDefault();
    if (key.trim() !== "") onSend(key.trim(), remember);
  };
  return (
    <form className={styles.form} onSubmit={send}>
      <PasswordInput
        label="Admin key"
        description="On the server: ADMIN_API_KEY, or the file admin-api-key in its data folder."
        size="md"
        value={key}
        onChange={(event) => setKey(event.currentTarget.value)}
        autoComplete="current-password"
      />
      <Checkbox
        size="md"
        label="Stay signed in on this computer"
        checked={remember}
        onChange={(event) => setRemember(event.currentTarget.checked)}
      />
      <Button type="submit" size="lg" disabled={key.trim() === ""}>
        Sign in
      </Button>
    </form>
  );
}
