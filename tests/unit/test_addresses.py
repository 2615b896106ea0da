"""Addresses of Valkey, as settings give them."""

import pytest

from quest_backend import addresses, settings


@pytest.mark.parametrize("url", ["redis://lab:6379/1", "rediss://:p@lab", "unix:///run/v.sock"])
def test_a_server_is_taken_as_it_is(url: str) -> None:
    assert addresses.parse(url) == addresses.StoreAddress(url)


def test_sentinels_come_with_ports_password_and_database() -> None:
    found = addresses.parse("redis+sentinel://u:p%40ss@s1:1,s2,[::1]:3/quest/2?sentinel_password=x")
    assert found.sentinels == (("s1", 1), ("s2", 26379), ("::1", 3))
    assert found.service == "quest"
    assert found.url == "redis://u:p%40ss@primary.invalid/2?sentinel_password=x"


def test_tls_holds_for_the_primary() -> None:
    assert addresses.parse("rediss+sentinel://s1/quest").url.startswith("rediss://")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://lab", "not an address"),
        ("lab:6379", "not an address"),
        ("redis://lab:6379,other", "not an address"),
        ("redis+sentinel://s1:26379", "name of the primary"),
        ("redis+sentinel:///quest", "names each Sentinel"),
        ("redis+sentinel://s1,,s2/quest", "names each Sentinel"),
        ("redis+sentinel://s1:x/quest", "port"),
        ("redis+sentinel://s1:99999/quest", "port"),
        ("redis+sentinel://s1/quest/first", "database"),
    ],
)
@pytest.mark.parametrize("name", ["REDIS_URL", "BUS_URLS"])
def test_anything_else_stops_the_start_with_a_line(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, problem: str
) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(settings.SettingsError, match=problem) as error:
        settings.load()
    assert name in str(error.value)


def test_the_bus_may_have_several_each_with_sentinels(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["redis+sentinel://s1:1,s2:2/quest", "redis://lab:6379", "unix:///run/v.sock"]
    monkeypatch.setenv("BUS_URLS", ", ".join(given) + ",")
    assert settings.load().bus_urls == given


def test_messages_show_no_password() -> None:
    url = "redis+sentinel://u:secret@s1:26379,s2:26379/quest?sentinel_password=secret"
    assert addresses.shown(url) == "redis+sentinel://s1:26379,s2:26379/quest"
