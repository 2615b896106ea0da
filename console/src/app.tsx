import { Loader } from "@mantine/core";
import { lazy, Suspense, useEffect } from "react";
import { Redirect, Route, Router, Switch } from "wouter";
import { useHashLocation } from "wouter/use-hash-location";

import { useAuth } from "./auth/credentials";
import { keepTokensFresh } from "./auth/session";
import { SignIn } from "./auth/sign-in";
import { CapturePage } from "./capture/capture-page";
import { attachCapture } from "./capture/store";
import { FleetPage } from "./fleet/fleet-page";
import { connect } from "./live/connection";
import { attachFleet } from "./live/fleet";
import { attachFrames } from "./live/frames";
import { Shell } from "./ui/shell";

const DevicePage = lazy(() => import("./device/device-page"));
const ReviewPage = lazy(() => import("./review/review-page"));
const SessionPage = lazy(() => import("./review/session-page"));
const UploadsPage = lazy(() => import("./uploads/uploads-page"));
const StoragePage = lazy(() => import("./storage/storage-page"));
const SettingsPage = lazy(() => import("./settings/settings-page"));

const FEATURES = [attachFleet, attachFrames, attachCapture];

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

/** An operator comes to record, a manager to look. */
function Home() {
  const kind = useAuth(({ credentials }) => credentials?.kind);
  return <Redirect to={kind === "tablet" ? "/capture" : "/fleet"} replace />;
}

function Pages() {
  const manager = useAuth(({ credentials }) => credentials?.kind === "admin");
  return (
    <Shell>
      <Suspense fallback={<Loader aria-label="Loading" m="xl" />}>
        <Switch>
          <Route path="/capture" component={CapturePage} />
          <Route path="/fleet" component={FleetPage} />
          <Route path="/devices/:deviceId">
            {({ deviceId }) => <DevicePage key={deviceId} deviceId={deviceId} />}
          </Route>
          <Route path="/uploads" component={UploadsPage} />
          {manager && <Route path="/storage" component={StoragePage} />}
          {manager && <Route path="/review" component={ReviewPage} />}
          {manager && (
            <Route path="/review/:sessionId">
              {({ sessionId }) => <SessionPage key={sessionId} sessionId={sessionId} />}
            </Route>
          )}
          <Route path="/settings" component={SettingsPage} />
          <Route>
            <Home />
          </Route>
        </Switch>
      </Suspense>
    </Shell>
  );
}
