"""``quest-backend qa``: score recordings, on disk or in the bucket, and show what was found."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console, Group, RenderableType
from rich.progress import track
from rich.table import Table
from rich.text import Text

from quest_backend import cli_qa_bucket, settings
from quest_backend.cli_qa_bucket import Place
from quest_backend.jobs.elsewhere import NotReachable
from quest_backend.jobs.local_recordings import (
    LocalSession,
    NoRecordings,
    Scored,
    find_sessions,
    score_local,
)
from quest_backend.qa.measures import LOW_CONFIDENCE
from quest_backend.qa.report import HandMeasures, SessionQA
from quest_backend.qa.timeline import MAX_POINTS, Timeline
from quest_backend.qa.verdict import Profile, Verdict, VerdictReport, choose, decide, profiles

_SPARKS = "▁▂▃▄▅▆▇█"
_COLOURS = {Verdict.PASS: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}
_LANE_LABEL = 17
_MAX_REASONS = 8

out = Console()
err = Console(stderr=True)


def _fail(message: str) -> typer.Exit:
    err.print(Text.assemble(("quest-backend: ", "red"), message), soft_wrap=True)
    return typer.Exit(2)


def qa(
    target: Annotated[
        str,
        typer.Argument(
            help="An .npz, a session's folder, or a folder of those; or, in the bucket, "
            "s3://BUCKET/sessions/YYYYMMDD_HHMMSS or just the session's name.",
        ),
    ] = "",
    whole: Annotated[
        bool, typer.Option("--all", help="Everything new in the bucket, by the workers.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per session.")] = False,
    profile: Annotated[
        str | None,
        typer.Option(help="Thresholds of the verdict (else the recording's, QA_PROFILE)."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="That of a server on this machine, for what is in its bucket."),
    ] = None,
) -> None:
    """Score recordings: how well hands were tracked, and whether the files are sound.

    Exit code 1 when a verdict is FAIL (with --all: when a recording could not be read), 2 when
    nothing could be scored.
    """
    try:
        config = settings.load(data_dir=data_dir)
    except settings.SettingsError as error:
        raise _fail(str(error)) from None
    if whole == bool(target):
        raise _fail("name what to score, or say --all for everything in the bucket")
    known = profiles(config.qa_profiles)
    if profile is not None and profile not in known:
        raise _fail(f"there is no profile {profile!r}; there are {', '.join(sorted(known))}")
    try:
        if whole:
            raise typer.Exit(0 if cli_qa_bucket.refresh(config, out, err) else 1)
        place = cli_qa_bucket.place_of(target)
        found: Sequence[LocalSession | Place] = (
            [place] if place is not None else find_sessions(Path(target))
        )
        scored = (_scored(each, config) for each in _progress(found, hidden=as_json))
        counts = _show_all(scored, len(found), as_json, known, profile, config)
    except (NoRecordings, NotReachable, OSError) as error:
        raise _fail(str(error)) from None
    if counts[Verdict.FAIL.value]:
        raise typer.Exit(1)


def _show_all(
    found: Iterable[Scored],
    count: int,
    as_json: bool,
    known: dict[str, Profile],
    wanted: str | None,
    config: settings.Settings,
) -> Counter[str]:
    counts: Counter[str] = Counter()
    table = _table()
    for scored in found:
        own = scored.session["extended"]["qaProfile"]
        verdict = decide(scored.session, choose(known, config.qa_profile, wanted, own))
        counts[verdict["verdict"]] += 1
        if as_json:
            typer.echo(orjson.dumps({**scored.session, "verdict": verdict}).decode())
        elif count == 1:
            out.print(one(scored, verdict))
        else:
            table.add_row(*_row(scored.session, verdict))
    if not as_json and count > 1:
        out.print(table)
        out.print(", ".join(f"{counts[each.value]} {each.value}" for each in Verdict))
    return counts


def _scored(one: LocalSession | Place, config: settings.Settings) -> Scored:
    if isinstance(one, Place):
        return cli_qa_bucket.score(config, one, MAX_POINTS)
    return score_local(one, MAX_POINTS, config.qa_max_member_bytes)


def _progress(
    found: Sequence[LocalSession | Place], *, hidden: bool
) -> Iterator[LocalSession | Place]:
    # On standard error, and only on a terminal, so that output can be piped.
    bar = track(found, "Scoring", console=err, transient=True,
                disable=hidden or len(found) == 1 or not err.is_terminal)  # fmt: skip
    return iter(bar)


def one(scored: Scored, verdict: VerdictReport) -> RenderableType:
    """All about one session, for a terminal."""
    session = scored.session
    colour = _COLOURS[Verdict(verdict["verdict"])]
    extended = session["extended"]
    head = Text.assemble(
        (f" {verdict['verdict']} ", f"bold reverse {colour}"),
        (f"  {session['sessionId']}  ", "bold"),
        f"{session['overallQualityScore']:g} of 100, profile {verdict['profile']}",
    )
    about = Text(f"{session['captureDate']}, {extended['deviceId']}, {session['status']}", "dim")
    reasons = [Text(f"  {reason}") for reason in verdict["reasons"][:_MAX_REASONS]]
    judged = {reason.partition(": ")[2] for reason in verdict["reasons"]}
    notes = [
        Text(f"  {each['message']}", "dim")
        for each in extended["problems"]
        if each["message"] not in judged
    ]
    lanes = [Text(), *_lanes(scored.timeline)] if scored.timeline is not None else []
    return Group(head, about, *reasons, *notes[:_MAX_REASONS], Text(), _numbers(session), *lanes)


def _numbers(session: SessionQA) -> Table:
    stages = session["stages"]
    capture, tests = stages["stage2_captureQuality"], stages["stage10_validationTests"]
    confidence, extended = stages["stage12_trackingConfidence"], session["extended"]
    checks = {
        "arrays": tests["npzIntegrityCheck"],
        "frame count": tests["frameCountCheck"],
        "times": tests["timestampConsistency"],
    }
    flagged = f"{extended['flaggedFramesPercent']:g} % flagged"
    rows = [
        ("Capture quality", capture["score"], f"{capture['totalFrames']} frames, {flagged}"),
        ("Validation", tests["score"],
         ", ".join(f"{name} {'✓' if good else '✗'}" for name, good in checks.items())),
        ("Tracking confidence", confidence["score"],
         f"{confidence['lowConfidenceFramesPercent']:g} % low"),
        ("Left hand", extended["hands"]["left"]["trackedPercent"],
         _hand(extended["hands"]["left"])),
        ("Right hand", extended["hands"]["right"]["trackedPercent"],
         _hand(extended["hands"]["right"])),
    ]  # fmt: skip
    table = Table.grid(padding=(0, 2))
    for label, number, more in rows:
        table.add_row(label, f"{number:.2f}", Text(more))
    # Text: a video may name its codec so that it looks like markup.
    table.add_row("Video", "", Text(_video(session)))
    return table


def _hand(hand: HandMeasures) -> str:
    seconds = hand["longestGapSeconds"]
    longest = f"{hand['longestGapFrames']} frames" if seconds is None else f"{seconds:g} s"
    return f"% tracked, {hand['dropouts']} dropouts, longest {longest}"


def _video(session: SessionQA) -> str:
    video = session["extended"]["video"]
    if video is None:
        return "none"
    if not video["readable"]:
        return "cannot be read"
    frames = "" if video["frameCount"] is None else f", {video['frameCount']} frames"
    seconds = "" if video["durationSeconds"] is None else f", {video['durationSeconds']:g} s"
    return f"{video['codec']} {video['width']}x{video['height']}{frames}{seconds}"


def _lanes(timeline: Timeline) -> Iterator[Text]:
    for side, lane in (("left", timeline["left"]), ("right", timeline["right"])):
        text = Text(f"{side + ' confidence':<{_LANE_LABEL}}")
        for value in columns(lane["mean"]):
            colour = "green" if value >= LOW_CONFIDENCE else "yellow" if value >= 0.5 else "red"
            text.append(spark(value), colour)
        yield text
    flags = timeline["flags"]
    lanes: dict[str, list[int]] = {
        "left lost": timeline["leftLost"],
        "right lost": timeline["rightLost"],
        "no hand": flags["bothHandsNotInFrame"],
        "errors": flags["trackingErrors"],
        "too fast": flags["handSpeedExceeded"],
    }
    for label, marks in lanes.items():
        yield Text(f"{label:<{_LANE_LABEL}}").append(
            "".join(spark(share) if share else "·" for share in columns(marks)),
            "red" if any(marks) else "dim",
        )


def columns(lane: Sequence[float]) -> list[float]:
    """The means of as many groups as there is room for on the terminal."""
    room = max(10, min(out.width - _LANE_LABEL - 2, 160))
    count = min(room, len(lane))
    edges = [column * len(lane) // count for column in range(count + 1)] if count else []
    return [sum(lane[start:end]) / (end - start) for start, end in pairwise(edges)]


def spark(value: float) -> str:
    """A bar for a value in 0..1."""
    return _SPARKS[min(int(value * len(_SPARKS)), len(_SPARKS) - 1)]


def _table() -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("session", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for heading in ("score", "capture", "checks", "tracking", "frames"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("first reason")
    return table


def _row(session: SessionQA, verdict: VerdictReport) -> list[Any]:
    stages = session["stages"]
    return [
        Text(session["sessionId"]),
        Text(verdict["verdict"], _COLOURS[Verdict(verdict["verdict"])]),
        f"{session['overallQualityScore']:.2f}",
        f"{stages['stage2_captureQuality']['score']:.2f}",
        f"{stages['stage10_validationTests']['score']:.2f}",
        f"{stages['stage12_trackingConfidence']['score']:.2f}",
        str(stages["stage2_captureQuality"]["totalFrames"]),
        Text(verdict["reasons"][0] if verdict["reasons"] else ""),
    ]
