import { Autocomplete, Button, Textarea, TextInput } from "@mantine/core";
import { IconBookmarkPlus, IconX } from "@tabler/icons-react";
import { useState, type FormEvent } from "react";

import styles from "./capture.module.css";
import { lockChosen, nextTake, useCapture, type Details, type Preset } from "./store";

const REQUIRED: [keyof Details, string][] = [
  ["participant", "Whom do the headsets record?"],
  ["task", "What do they do?"],
];

export function DetailsStep() {
  const { details, presets } = useCapture();
  const [missing, setMissing] = useState<Partial<Record<keyof Details, string>>>({});
  const change = (part: Partial<Details>): void => {
    useCapture.setState({ details: { ...details, ...part } });
    setMissing({});
  };
  const next = (event: FormEvent): void => {
    event.preventDefault();
    const gaps = REQUIRED.filter(([name]) => details[name].trim() === "");
    setMissing(Object.fromEntries(gaps));
    if (gaps.length > 0) return;
    useCapture.setState({ step: "check" });
    lockChosen();
  };
  const known = (name: "study" | "task"): string[] => [...new Set(presets.map((preset) => preset[name]))].filter(Boolean);
  return (
    <form onSubmit={next} noValidate>
      <Presets details={details} presets={presets} onUse={({ study, task, notes }) => change({ study, task, notes })} />
      <div className={styles.fields}>
        <TextInput
          size="lg"
          label="Participant"
          placeholder="P-017"
          withAsterisk
          maxLength={200}
          error={missing.participant}
          value={details.participant}
          onChange={(event) => change({ participant: event.currentTarget.value })}
        />
        <Autocomplete
          size="lg"
          label="Study"
          maxLength={200}
          data={known("study")}
          value={details.study}
          onChange={(study) => change({ study })}
        />
        <Autocomplete
          size="lg"
          label="Task"
          placeholder="Fold a towel"
          withAsterisk
          maxLength={200}
          data={known("task")}
          error={missing.task}
          value={details.task}
          onChange={(task) => change({ task })}
        />
        <Textarea
          size="lg"
          label="Notes"
          autosize
          minRows={2}
          maxRows={6}
          maxLength={4000}
          value={details.notes}
          onChange={(event) => change({ notes: event.currentTarget.value })}
        />
      </div>
      <footer className={styles.footer}>
        <Button size="lg" variant="default" onClick={() => useCapture.setState({ step: "choose" })}>
          Back
        </Button>
        <span className={styles.soft}>Take {nextTake()}</span>
        <Button size="lg" type="submit">
          Next: check
        </Button>
      </footer>
    </form>
  );
}

interface PresetsProps {
  details: Details;
  presets: Preset[];
  onUse: (preset: Preset) => void;
}

/** Study, task and notes that come again and again; the participant is always new. */
function Presets({ details, presets, onUse }: PresetsProps) {
  const name = [details.study.trim(), details.task.trim()].filter(Boolean).join(", ");
  const save = (): void => {
    const preset = { name, study: details.study.trim(), task: details.task.trim(), notes: details.notes };
    useCapture.setState({ presets: [...presets.filter((other) => other.name !== name), preset] });
  };
  const remove = (gone: string): void => {
    useCapture.setState({ presets: presets.filter((other) => other.name !== gone) });
  };
  return (
    <div className={styles.presets} role="group" aria-label="Presets">
      {presets.map((preset) => (
        <span key={preset.name} className={styles.preset}>
          <button type="button" onClick={() => onUse(preset)}>
            {preset.name}
          </button>
          <button type="button" aria-label={`Forget the preset ${preset.name}`} onClick={() => remove(preset.name)}>
            <IconX size={18} aria-hidden />
          </button>
        </span>
      ))}
      {name !== "" && !presets.some((preset) => preset.name === name) && (
        <Button variant="subtle" leftSection={<IconBookmarkPlus aria-hidden />} onClick={save}>
          Keep as a preset
        </Button>
      )}
    </div>
  );
}
