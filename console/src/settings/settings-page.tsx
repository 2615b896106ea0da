import { Button, SegmentedControl, useMantineColorScheme } from "@mantine/core";
import { IconLogout, IconUser } from "@tabler/icons-react";
import { useState } from "react";

import { signOut, useAuth } from "../auth/credentials";
import { NameDialog } from "../auth/name-dialog";
import { AuditSection } from "./audit-section";
import { HealthSection } from "./health-section";
import styles from "./settings-page.module.css";
import { TabletsSection } from "./tablets-section";

export default function SettingsPage() {
  const credentials = useAuth((state) => state.credentials);
  const [naming, setNaming] = useState(false);
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
              : `Signed in with the admin key${credentials?.name ? ` as ${credentials.name}` : ""}.`}
          </p>
          <div className={styles.tools}>
            {credentials?.kind === "admin" && (
              <Button variant="default" leftSection={<IconUser aria-hidden />} onClick={() => setNaming(true)}>
                {credentials.name ? "Change your name" : "Say who you are"}
              </Button>
            )}
            <Button variant="default" leftSection={<IconLogout aria-hidden />} onClick={() => signOut()}>
              {credentials?.kind === "tablet" ? "Unpair this tablet" : "Sign out"}
            </Button>
          </div>
          <NameDialog opened={naming} onClose={() => setNaming(false)} />
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
