"""Settings and secrets."""

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quest_backend import logs, settings, tokens
from quest_backend.cli import cli


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "99999"), ("PORT", "x"), ("SOCKET_AUTH", "maybe"), ("RATE_LIMIT_MULTIPLIER", "0"),
     ("ENVIRONMENT", "production"), ("TABLET_GRACE_SECONDS", "-1")],
)  # fmt: skip
def test_a_wrong_value_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.delenv("JWT_SECRET", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(settings.SettingsError) as error:
        settings.load()
    assert "\n" not in str(error.value)
    assert name in str(error.value)
    result = CliRunner().invoke(cli, ["serve"])
    assert result.exit_code == 1


def test_production_needs_strong_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("JWT_SECRET", "short")
    monkeypatch.setenv("ADMIN_API_KEY", "a" * 32)
    with pytest.raises(settings.SettingsError, match="JWT_SECRET must have at least 32"):
        settings.load()
    monkeypatch.setenv("JWT_SECRET", "s" * 32)
    assert settings.load().environment == "production"


def test_secrets_are_made_once_and_kept_private(tmp_path: Path) -> None:
    config = settings.Settings(data_dir=tmp_path, jwt_secret=None, admin_api_key=None)
    first = tokens.load_secrets(config)
    second = tokens.load_secrets(config)
    assert len(first.made) == 2
    assert second.made == ()
    assert first.jwt_secret == second.jwt_secret
    assert len(first.jwt_secret) >= 48
    for path in first.made:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_setting_says_what_it_is() -> None:
    for name, field in settings.Settings.model_fields.items():
        assert field.description, name


def test_secrets_are_not_logged() -> None:
    event = {"event": "x", "admin_api_key": "k", "device_token": "t", "device": "d"}
    assert logs.redact(None, "", event) == {
        "event": "x",
        "admin_api_key": "[redacted]",
        "device_token": "[redacted]",
        "device": "d",
    }


@pytest.mark.parametrize("command", ["serve", "simulate", "token", "demo", "stats", "version"])
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
