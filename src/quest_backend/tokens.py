"""Who somebody is: device tokens (JWT, HS256) and the keys of admins."""

import hmac
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import jwt

from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.limits import TOKEN_LIFETIME_S
from quest_backend.settings import Settings


class InvalidToken(Exception):  # noqa: N818 - reads as what it says
    """Not a token of ours, or no longer."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token names."""

    device_id: str
    device_type: DeviceType
    expires_at: int = 0


class Tokens:
    """Issues and reads device tokens, and compares keys in constant time."""

    def __init__(self, jwt_secret: str, admin_key: str, enrollment_key: str | None = None) -> None:
        self._secret = jwt_secret
        self._admin_key = admin_key
        self._enrollment_key = enrollment_key
        # Ids of tablets whose access was taken back; kept in step with the store.
        self.revoked: set[str] = set()

    def issue(self, device_id: str, device_type: DeviceType) -> str:
        """A token for 24 hours."""
        now = int(time.time())
        claims = {
            "deviceId": device_id,
            "deviceType": str(device_type),
            "iat": now,
            "exp": now + TOKEN_LIFETIME_S,
        }
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def read(self, token: object) -> Identity:
        """Whom ``token`` names.

        Raises:
            InvalidToken: not text, not signed by us with HS256, expired, revoked, or without a
                device.
        """
        if not isinstance(token, str) or len(token) > 4096:
            raise InvalidToken("not a token")
        try:
            claims = jwt.decode(
                token.removeprefix("Bearer "),
                self._secret,
                algorithms=["HS256"],
                options={"require": ["exp", "iat"]},
            )
            who = Identity(
                str(claims["deviceId"]), DeviceType(claims["deviceType"]), int(claims["exp"])
            )
        except (jwt.PyJWTError, KeyError, ValueError, UnicodeError) as error:
            raise InvalidToken("invalid or expired token") from error
        if who.device_id in self.revoked:
            raise InvalidToken("revoked")
        return who

    def is_admin(self, key: str) -> bool:
        """Whether ``key`` is the admin key."""
        return same_secret(key, self._admin_key)

    def may_enroll(self, key: str | None) -> bool:
        """Whether a device with this enrolment key (if one is needed) may have a token."""
        return self._enrollment_key is None or same_secret(key or "", self._enrollment_key)


def same_secret(given: str, expected: str) -> bool:
    """Compare in a time that says nothing about where they differ."""
    return hmac.compare_digest(
        given.encode(errors="surrogatepass"), expected.encode(errors="surrogatepass")
    )


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets in use; ``made`` are the files of those that this start generated."""

    jwt_secret: str
    admin_key: str
    made: tuple[Path, ...] = ()


def load_secrets(settings: Settings) -> Secrets:
    """The configured secrets, or strong ones kept in ``DATA_DIR`` with mode 600."""
    made: list[Path] = []

    def secret(configured: str | None, name: str) -> str:
        if configured is not None:
            return configured
        path = settings.data_dir / name
        if not path.exists():
            made.append(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            # Written whole, then renamed: a crash leaves no empty secret behind.
            draft = path.with_suffix(".new")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
                f.write(secrets.token_urlsafe(48))
            draft.rename(path)
        return path.read_text().strip()

    jwt_secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
    admin_key = settings.admin_api_key.get_secret_value() if settings.admin_api_key else None
    return Secrets(
        secret(jwt_secret, "jwt-secret"), secret(admin_key, "admin-api-key"), tuple(made)
    )
