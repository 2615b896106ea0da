import { Button } from "@mantine/core";
import { IconAlertTriangleFilled, IconCircleCheckFilled, IconPlayerRecordFilled, IconXboxXFilled } from "@tabler/icons-react";
import { useMemo } from "react";

import { useRows } from "../fleet/use-rows";
import { useFleet } from "../live/fleet";
import { plural } from "../ui/format";
import { Preview } from "../ui/preview";
import styles from "./capture.module.css";
import { allWell, commonVersion, preflight, type Check } from "./preflight";
import { createSession, lockChosen, nextTake, releaseAll, useCapture } from "./store";

const ICONS = { ok: IconCircleCheckFilled, warn: IconAlertTriangleFilled, fail: IconXboxXFilled };
const WORDS = { ok: "Ready", warn: "Look", fail: "Cannot record" };

export function CheckStep() {
  const { chosen, details, busy } = useCapture();
  const rows = useRows();
  const checks = useMemo(() => {
    const byId = new Map(rows.map((row) => [row.device.deviceId, row]));
    const usual = commonVersion(chosen.map((id) => byId.get(id)?.device));
    return chosen.map((id) => {
      const row = byId.get(id);
      return { id, check: preflight(row?.device, row?.condition, row?.holder ?? "", usual) };
    });
  }, [rows, chosen]);
  const fit = checks.filter(({ check }) => check.verdict !== "fail").map(({ id }) => id);
  const unfit = checks.length - fit.length;
  const back = (): void => {
    releaseAll();
    useCapture.setState({ step: "choose" });
  };
  return (
    <>
      <div className={styles.bar}>
        <div>
          <h2>
            {details.participant}, {details.task}
          </h2>
          <span className={styles.soft}>
            {details.study !== "" && `${details.study} · `}Take {nextTake()}
          </span>
        </div>
        <Button variant="default" onClick={() => useCapture.setState({ step: "details" })}>
          Change details
        </Button>
      </div>
      <ul className={styles.checks}>
        {checks.map(({ id, check }) => (
          <CheckCard key={id} deviceId={id} check={check} />
        ))}
      </ul>
      <footer className={styles.footer}>
        <Button size="lg" variant="default" onClick={back}>
          Back
        </Button>
        {unfit > 0 && (
          <Button size="lg" variant="default" onClick={lockChosen}>
            Try again
          </Button>
        )}
        <Button
          size="lg"
          color="red"
          className={styles.start ?? ""}
          leftSection={<IconPlayerRecordFilled aria-hidden />}
          disabled={fit.length === 0}
          loading={busy}
          onClick={() => createSession(fit)}
        >
          {unfit > 0 ? `Go on with ${fit.length} of ${checks.length}` : `Start ${plural(fit.length, "headset")}`}
        </Button>
      </footer>
    </>
  );
}

function CheckCard({ deviceId, check }: { deviceId: string; check: Check }) {
  const device = useFleet((state) => state.devices[deviceId]);
  const Icon = ICONS[check.verdict];
  const name = device?.customName ?? deviceId;
  const remove = (): void => {
    useCapture.setState(({ chosen }) => ({ chosen: chosen.filter((id) => id !== deviceId) }));
  };
  return (
    <li className={styles.check} data-verdict={check.verdict} data-device={deviceId}>
      <Preview deviceId={deviceId} name={name} />
      <div className={styles.checkHead}>
        <strong>{name}</strong>
        <span className={styles.verdict}>
          <Icon size={20} aria-hidden /> {WORDS[check.verdict]}
        </span>
      </div>
      {check.reasons.length > 0 ? (
        <ul className={styles.reasons}>
          {check.reasons.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      ) : (
        device !== undefined && <span className={styles.soft}>{allWell(device)}</span>
      )}
      {check.verdict === "fail" && (
        <Button variant="default" onClick={remove}>
          Leave {name} out
        </Button>
      )}
    </li>
  );
}
