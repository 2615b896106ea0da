import { Button, SegmentedControl, useMantineColorScheme } from "@mantine/core";
import { IconLogout } from "@tabler/icons-react";

import { signOut, useAuth } from "../auth/credentials";
import { AuditSection } from "./audit-section";
import { HealthSection } from "./health-section";
import styles from "./settings-page.module.css";
import { TabletsSection } from "./tablets-section";

export default function SettingsPage() {
  const credentials = useAuth((state) => state.credentials);
  return (
    <>
      <h1>Settings</h1>
      <div className={styles.sections}>
        {credentials?.kind === "admin" && <TabletsSection />}
        <HealthSection />
        <section className={styles.section} aria-labelledby="appearance">
          <h2 id="appearance">This browser</h2>
          <ColorScheme />
          <p className={styles.who}>
            {credentials?.kind === "tablet"
              ? `Paired as ${credentials.name}.`
              : "Signed in with the admin key."}
          </p>
          <div>
            <Button variant="default" leftSection={<IconLogout aria-hidden />} onClick={() => signOut()}>
              {credentials?.kind === "tablet" ? "Unpair this tablet" : "Sign out"}
            </Button>
          </div>
        </section>
        {credentials?.kind === "admin" && <AuditSection />}
      </div>
    </>
  );
}

function ColorScheme() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <SegmentedControl
      aria-label="Colours"
      size="md"
      value={colorScheme}
      onChange={(value) => setColorScheme(value as "light" | "dark" | "auto")}
      data={[
        { value: "light", label: "Light" },
        { value: "dark", label: "Dark" },
        { value: "auto", label: "As the device" },
      ]}
    />
  );
}
