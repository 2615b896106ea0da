import { Alert, Button, Modal, TextInput } from "@mantine/core";
import { IconCircleCheckFilled, IconDeviceTabletPlus } from "@tabler/icons-react";
import { useEffect, useMemo, useState, type FormEvent } from "react";
import { encode } from "uqr";

import { call, problemOf, type Schemas } from "../http";
import { useNow } from "../live/now";
import { loadTablets, useTablets, type Tablet } from "../live/tablets";
import { clock, localTime } from "../ui/format";
import styles from "./settings-page.module.css";

const PAIRING_POLL_MS = 2000;
const POLL_MS = 15_000;

export function TabletsSection() {
  const tablets = useTablets((state) => state.tablets);
  const [pairing, setPairing] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    const load = (): void => {
      loadTablets().then(() => setProblem(null), (error: unknown) => setProblem(problemOf(error)));
    };
    load();
    const timer = setInterval(load, pairing ? PAIRING_POLL_MS : POLL_MS);
    return () => clearInterval(timer);
  }, [pairing]);
  return (
    <section className={styles.section} aria-labelledby="tablets">
      <h2 id="tablets">Tablets</h2>
      {problem !== null && <Alert color="red">{problem}</Alert>}
      <Button leftSection={<IconDeviceTabletPlus aria-hidden />} onClick={() => setPairing(true)}>
        Pair a tablet
      </Button>
      <ul className={styles.list}>
        {tablets.filter(({ tabletId }) => !tabletId.startsWith("console_")).map((tablet) => (
          <TabletRow key={tablet.tabletId} tablet={tablet} />
        ))}
      </ul>
      <Modal opened={pairing} onClose={() => setPairing(false)} title="Pair a tablet" size="md">
        <Pairing known={tablets.map(({ tabletId }) => tabletId)} onDone={() => setPairing(false)} />
      </Modal>
    </section>
  );
}

function TabletRow({ tablet }: { tablet: Tablet }) {
  const [asking, setAsking] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const revoke = async (): Promise<void> => {
    try {
      await call("DELETE", `/api/tablets/${tablet.tabletId}`);
      await loadTablets();
    } catch (error) {
      setProblem(problemOf(error));
    }
    setAsking(false);
  };
  const state = tablet.revokedAt ? "Access taken back" : tablet.socketId ? "Connected" : "Not connected";
  return (
    <li className={styles.row}>
      <div className={styles.grow}>
        <strong>{tablet.name}</strong>
        <span className={styles.soft}>
          {state}
          {tablet.pairedAt && ` · paired ${localTime(tablet.pairedAt)}`}
          {!tablet.paired && " · has a token of its own"}
          {problem !== null && ` · ${problem}`}
        </span>
      </div>
      {tablet.paired &&
        !tablet.revokedAt &&
        (asking ? (
          <>
            <Button color="red" onClick={() => void revoke()}>
              Take access back from {tablet.name}
            </Button>
            <Button variant="default" onClick={() => setAsking(false)}>
              Keep
            </Button>
          </>
        ) : (
          <Button variant="default" onClick={() => setAsking(true)} aria-label={`Take access back from ${tablet.name} …`}>
            Take access back …
          </Button>
        ))}
    </li>
  );
}

/** Name it, then show the code until a tablet has used it. */
function Pairing({ known, onDone }: { known: string[]; onDone: () => void }) {
  const [name, setName] = useState("");
  const [offer, setOffer] = useState<Schemas["PairingOffer"] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [before] = useState(known);
  const tablets = useTablets((state) => state.tablets);
  const paired = offer && tablets.find((row) => row.paired && row.name === name.trim() && !before.includes(row.tabletId));

  const ask = async (event?: FormEvent): Promise<void> => {
    event?.preventDefault();
    setProblem(null);
    try {
      setOffer(await call<Schemas["PairingOffer"]>("POST", "/api/tablets/pairings", { name }));
    } catch (error) {
      setProblem(problemOf(error));
    }
  };

  if (paired) {
    return (
      <div className={styles.pairing}>
        <p className={styles.done} role="status">
          <IconCircleCheckFilled aria-hidden /> {paired.name} is paired.
        </p>
        <Button onClick={onDone}>Done</Button>
      </div>
    );
  }
  if (offer !== null) return <Code offer={offer} onAgain={() => void ask()} />;
  return (
    <form className={styles.sections} onSubmit={(event) => void ask(event)}>
      {problem !== null && <Alert color="red">{problem}</Alert>}
      <TextInput
        label="Name"
        description="Shown on every headset that this tablet holds."
        placeholder="Lab 2, bench A"
        maxLength={60}
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        data-autofocus
      />
      <Button type="submit" disabled={name.trim() === ""}>
        Show a code
      </Button>
    </form>
  );
}

function Code({ offer, onAgain }: { offer: Schemas["PairingOffer"]; onAgain: () => void }) {
  const left = Date.parse(offer.expiresAt) - useNow();
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  const base = local ? (offer.addresses[0] ?? location.origin) : location.origin;
  if (left <= 0) {
    return (
      <div className={styles.pairing}>
        <p>This code is too old.</p>
        <Button onClick={onAgain}>Show a new code</Button>
      </div>
    );
  }
  return (
    <div className={styles.pairing}>
      <Qr text={`${base}/#/pair/${offer.code}`} />
      <p>
        Scan this with the tablet's camera, or open <strong>{base}</strong> on it and type
      </p>
      <div className={styles.code} data-code={offer.code}>
        {offer.code.slice(0, 4)}-{offer.code.slice(4)}
      </div>
      <p className={styles.soft}>For one tablet, for {clock(left)} more.</p>
    </div>
  );
}

function Qr({ text }: { text: string }) {
  const { data, size } = useMemo(() => encode(text, { ecc: "M", border: 1 }), [text]);
  const path = data.flatMap((row, y) => row.flatMap((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : []))).join("");
  return (
    <svg className={styles.qr} viewBox={`0 0 ${size} ${size}`} role="img" aria-label="Code to scan" shapeRendering="crispEdges">
      <path d={path} />
    </svg>
  );
}
