import { Loader } from "@mantine/core";
import { lazy, Suspense, useEffect } from "react";
import { Redirect, Route, Router, Switch } from "wouter";
import { useHashLocation } from "wouter/use-hash-location";

import { useAuth } from "./auth/credentials";
import { keepTokensFresh } from "./auth/session";
import { SignIn } from "./auth/sign-in";
import { FleetPage } from "./fleet/fleet-page";
import { connect } from "./live/connection";
import { attachFleet } from "./live/fleet";
import { Shell } from "./ui/shell";

const SettingsPage = lazy(() => import("./settings/settings-page"));

const FEATURES = [attachFleet];

export function App() {
  const who = useAuth(({ credentials }) => credentials && `${credentials.kind}:${credentials.deviceId}`);
  useEffect(() => {
    if (who === null) return undefined;
    const stops = [connect(FEATURES), keepTokensFresh()];
    return () => stops.forEach((stop) => stop());
  }, [who]);
  return (
    <Router hook={useHashLocation}>
      <Switch>
        <Route path="/sign-in/:key">{({ key }) => <SignIn adminKey={key} />}</Route>
        <Route path="/pair/:code">{({ code }) => <SignIn code={code} />}</Route>
        <Route>{who === null ? <SignIn /> : <Pages />}</Route>
      </Switch>
    </Router>
  );
}

function Pages() {
  return (
    <Shell>
      <Suspense fallback={<Loader aria-label="Loading" m="xl" />}>
        <Switch>
          <Route path="/fleet" component={FleetPage} />
          <Route path="/settings" component={SettingsPage} />
          <Route>
            <Redirect to="/fleet" replace />
          </Route>
        </Switch>
      </Suspense>
    </Shell>
  );
}
