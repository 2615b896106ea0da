"""The model of docs/scaling.md: what it says follows from unit costs and assumptions."""

import dataclasses
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scaling import ROOT, picture, report
from scaling.assumptions import Assumptions
from scaling.model import (
    Traffic,
    bus,
    largest_fleet,
    lists,
    needs,
    node_cores,
    nodes_for,
    share,
    upload_parts,
)
from scaling.units import Cost
from unit_costs import UNITS

ASSUMED = tomllib.loads((ROOT / "benchmarks" / "scaling" / "assumptions.toml").read_text())
GIVEN = Assumptions.of(ASSUMED)


def with_fleet(**changes: float) -> Assumptions:
    return dataclasses.replace(GIVEN, fleet=dataclasses.replace(GIVEN.fleet, **changes))


class TestCost:
    def test_the_line_goes_through_both_sizes(self) -> None:
        cost = Cost.through({10: 50, 40: 110})
        assert cost.us(10) == pytest.approx(50)
        assert cost.us(40) == pytest.approx(110)

    @given(st.floats(0, 1e4), st.floats(0, 1e4))
    def test_noise_makes_no_part_of_it_negative(self, low: float, high: float) -> None:
        cost = Cost.through({10: low, 40: high})
        assert cost.fixed_us >= 0
        assert cost.us_per_kb >= 0
        assert cost.us(40) == pytest.approx(high, abs=1e-6)

    def test_one_size_alone_is_fixed(self) -> None:
        assert Cost.through({40: 80}) == Cost(80, 0)


class TestOneServer:
    def test_is_linear_in_what_passes_through_it(self) -> None:
        traffic = Traffic(
            connections=10, telemetry=5, frames_in=30, frames_watched=30, frames_out=60,
            frame_kb=40, list_kb=100, uploads=1, upload_parts=70,
        )  # fmt: skip
        doubled = dataclasses.replace(
            traffic,
            **{
                name: 2 * value
                for name, value in dataclasses.asdict(traffic).items()
                if name != "frame_kb"
            },
        )
        once, twice = node_cores(UNITS, traffic), node_cores(UNITS, doubled)
        for name, cores in once.items():
            assert twice[name] == pytest.approx(cores if name == "idle" else 2 * cores), name

    def test_a_watched_frame_is_read_checked_and_delivered(self) -> None:
        traffic = Traffic(frames_in=1000, frames_watched=1000, frames_out=2000, frame_kb=40)
        found = node_cores(UNITS, traffic)
        assert found["frames in"] == pytest.approx(1000 * (50 + 28) / 1e6)
        assert found["frames out"] == pytest.approx(2000 * 26 / 1e6)

    def test_alone_needs_no_bus(self) -> None:
        alone = share(UNITS, GIVEN.fleet, 20, 1)
        assert alone.frames_published == alone.telemetry_elsewhere == 0
        assert bus(UNITS, alone, 1).bytes_out == 0


class TestBus:
    def test_carries_each_crossing_frame_in_and_out(self) -> None:
        each = share(UNITS, with_fleet(telemetry_hz=0).fleet, 300, 3)
        carried = bus(UNITS, each, 3)
        crossing = 300 * GIVEN.fleet.watched_share * GIVEN.fleet.fps * 2 / 3
        assert carried.bytes_in == pytest.approx(crossing * 40_060)
        assert carried.bytes_out == pytest.approx(carried.bytes_in)
        assert carried.cores == pytest.approx(crossing * 34 / 1e6)

    def test_hands_telemetry_to_every_other_server(self) -> None:
        fleet = with_fleet(watched_share=0).fleet
        few, many = (bus(UNITS, share(UNITS, fleet, 300, n), n) for n in (3, 31))
        assert few.bytes_out == pytest.approx(2 * few.bytes_in)
        assert many.bytes_out == pytest.approx(30 * many.bytes_in)


class TestServersForAFleet:
    @settings(deadline=None)
    @given(st.integers(1, 3000))
    def test_the_fewest_that_fit(self, headsets: int) -> None:
        found = nodes_for(UNITS, GIVEN, headsets)
        assert found is not None
        used = sum(node_cores(UNITS, share(UNITS, GIVEN.fleet, headsets, found)).values())
        assert used <= GIVEN.sizing.core_share
        if found > 1:
            tight = dataclasses.replace(GIVEN.sizing, network_gbit=1e9)
            roomy = dataclasses.replace(GIVEN, sizing=tight)
            fewer = (nodes_for(UNITS, roomy, headsets) or 0) - 1
            if fewer >= 1:
                less = node_cores(UNITS, share(UNITS, GIVEN.fleet, headsets, fewer))
                assert sum(less.values()) > GIVEN.sizing.core_share

    @settings(deadline=None)
    @given(st.integers(1, 2000), st.integers(1, 2000))
    def test_more_headsets_never_need_fewer(self, one: int, other: int) -> None:
        few, many = sorted((one, other))
        assert (nodes_for(UNITS, GIVEN, few) or 0) <= (nodes_for(UNITS, GIVEN, many) or 1 << 30)

    def test_a_narrow_network_asks_for_more(self) -> None:
        narrow = dataclasses.replace(
            GIVEN, sizing=dataclasses.replace(GIVEN.sizing, network_gbit=1)
        )
        assert (nodes_for(UNITS, narrow, 1000) or 0) > (nodes_for(UNITS, GIVEN, 1000) or 0)

    def test_what_grows_on_every_server_bounds_one_fleet(self) -> None:
        most = largest_fleet(UNITS, GIVEN)
        assert nodes_for(UNITS, GIVEN, most) is not None
        assert nodes_for(UNITS, GIVEN, round(1.1 * most)) is None
        beyond = needs(UNITS, GIVEN, 10 * most)
        assert "no number of servers suffices" in beyond.broken[0]
        assert "telemetry" in beyond.broken[0]

    def test_lists_are_never_more_than_wifi_takes_and_so_too_late(self) -> None:
        found = needs(UNITS, GIVEN, 15_000)
        assert found.lists.client_mbit <= 2.001
        assert "lists of" in " ".join(found.broken)

    def test_what_people_cannot_take_is_said(self) -> None:
        found = " ".join(needs(UNITS, GIVEN, 5000).broken)
        assert "every dashboard gets 5,000 messages a second" in found
        assert "no number of servers" not in found

    def test_a_small_fleet_breaks_nothing(self) -> None:
        assert needs(UNITS, GIVEN, 10).broken == []
        assert needs(UNITS, GIVEN, 10).nodes == 1


class TestLists:
    def test_are_rarer_when_they_are_large(self) -> None:
        """As realtime/lists.py: 64 MB/s of them per server, and at least 300 ms apart."""
        fleet = with_fleet(changes_per_headset_hour=3600).fleet
        assert lists(UNITS, fleet, 10, 1).every_s == 0.3
        large = lists(UNITS, fleet, 5000, 2)
        assert large.kb_per_s == pytest.approx(64_000)
        assert large.every_s == pytest.approx(140 * 5000 * 5000 * 1.104 / 2 / 64e6)

    def test_nobody_gets_one_without_a_change(self) -> None:
        assert lists(UNITS, with_fleet(changes_per_headset_hour=0).fleet, 100, 1).kb_per_s == 0


class TestRecordings:
    def test_both_files_are_cut_as_the_server_cuts_them(self) -> None:
        assert upload_parts(GIVEN.fleet) == 62 + 11
        assert upload_parts(with_fleet(take_video_gib=200, take_data_gib=0).fleet) <= 10_000

    def test_requests_storage_and_their_price(self) -> None:
        found = needs(UNITS, GIVEN, 100)
        takes = 100 * 4 * 176
        assert found.s3_writes_per_month == pytest.approx(takes * (2 * 4 + 73))
        assert found.stored_gib_per_month == pytest.approx(takes * 0.7)
        assert found.dollars["storage, standard"] == pytest.approx(takes * 0.7 * 0.023)
        assert found.dollars["S3 requests"] == pytest.approx(
            takes * (81 * 0.005 + 8 * 0.0004) / 1000
        )
        assert found.qa_workers == 1


class TestAssumptions:
    def test_a_wrong_name_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"\[fleet\].*fsp"):
            Assumptions.of({**ASSUMED, "fleet": {**ASSUMED["fleet"], "fsp": 30}})

    def test_a_missing_table_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"\[prices\].*core_hour"):
            Assumptions.of({"fleet": ASSUMED["fleet"], "sizing": ASSUMED["sizing"]})

    @pytest.mark.parametrize("value", [-1, "many", True])
    def test_what_is_no_amount_is_refused(self, value: object) -> None:
        with pytest.raises(ValueError, match=r"\[fleet\] fps"):
            Assumptions.of({**ASSUMED, "fleet": {**ASSUMED["fleet"], "fps": value}})


class TestDocument:
    def test_its_assumptions_are_those_of_the_file(self) -> None:
        text = (ROOT / "docs" / "scaling.md").read_text()
        assert "\n".join(report.assumptions(GIVEN)) in text

    def test_parts_are_replaced_and_the_rest_stays(self, tmp_path: Path) -> None:
        start, end = report.marks("fleets")
        page = tmp_path / "page.md"
        page.write_text(f"before\n{start}\nold\n{end}\nafter\n")
        report.write(page, {"fleets": ["new"]})
        report.write(page, {"fleets": ["newer"]})
        assert page.read_text() == f"before\n{start}\n\nnewer\n\n{end}\nafter\n"

    def test_a_missing_part_is_an_error(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("nothing")
        with pytest.raises(ValueError, match="fleets"):
            report.write(page, {"fleets": []})

    def test_the_picture_is_well_formed_and_shows_every_line(self) -> None:
        drawn = picture.chart(
            "a title",
            "headsets",
            [picture.Line("one", [(100, 1), (1000, 20)]), picture.Line("none", [(100, 0)])],
        )
        shapes = ET.fromstring(drawn)
        assert len(shapes.findall("{http://www.w3.org/2000/svg}polyline")) == 1
        with pytest.raises(ValueError, match="no points"):
            picture.chart("a title", "headsets", [picture.Line("none", [])])
