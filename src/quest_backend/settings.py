"""Settings, read from the environment. The README's table is printed from these fields."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from quest_backend import addresses
from quest_backend.qa import verdict
from quest_backend.qa.judge import Judge


class SettingsError(Exception):
    """A wrong value; the message is one clear line."""


class Settings(BaseSettings):
    """Every field is an environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    environment: Literal["development", "production"] = Field(
        "development", description="`production` refuses to start without explicit secrets"
    )
    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104 - headsets come over the lab's network
    port: int = Field(3200, ge=1, le=65535, description="port for REST and sockets")
    data_dir: Path = Field(Path("data"), description="embedded stores and generated secrets")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged"
    )
    allowed_origins: Annotated[list[str], NoDecode] = Field(
        ["*"], description="origins that browsers may call from, comma-separated; `*` for any"
    )
    trusted_proxies: str = Field(
        "127.0.0.1", description="proxies whose X-Forwarded-For is believed, comma-separated"
    )

    jwt_secret: SecretStr | None = Field(
        None, description="signs device tokens; made and kept in DATA_DIR when not set"
    )
    admin_api_key: SecretStr | None = Field(
        None, description="the X-API-Key of admins; made and kept in DATA_DIR when not set"
    )
    enrollment_key: SecretStr | None = Field(
        None, description="when set, device tokens need it as header X-Enrollment-Key"
    )
    metrics_token: SecretStr | None = Field(
        None, description="when set, /metrics needs it as a Bearer token"
    )
    socket_auth: Literal["required", "optional"] = Field(
        "required", description="`optional` lets sockets without a token in as tablets"
    )

    redis_url: str | None = Field(
        None,
        description="Valkey or Redis 7+ to use, also by Sentinels; an embedded Valkey when not set",
    )
    bus_urls: Annotated[list[str], NoDecode] = Field(
        [],
        description="Valkeys for frames between servers, comma-separated; else that of `REDIS_URL`",
    )
    redis_timeout_ms: int = Field(
        1500, ge=50, le=60_000, description="longest wait for an answer of Valkey"
    )

    node_timeout_seconds: float = Field(
        15, ge=1, le=600, description="a server that others do not hear of this long is dead"
    )
    drain_seconds: float = Field(
        5,
        ge=0,
        le=8,
        description="how long a server that stops sends its clients away and lets uploads end",
    )

    s3_bucket_name: str = Field(
        "turing-robotics-datahub",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="bucket of the recordings; the embedded store makes it",
    )
    s3_endpoint_url: str | None = Field(
        None, description="S3 to use; AWS with credentials alone, else an embedded store"
    )
    s3_public_endpoint_url: str | None = Field(
        None, description="where headsets reach S3; this server's own address when it is embedded"
    )
    aws_region: str = Field(
        "us-east-1", pattern=r"^[a-z0-9-]{1,32}$", description="region of the bucket"
    )
    aws_access_key_id: SecretStr | None = Field(
        None, description="credentials of S3; with S3_ENDPOINT_URL also from AWS's usual places"
    )
    aws_secret_access_key: SecretStr | None = Field(None, description="its secret")
    aws_session_token: SecretStr | None = Field(
        None, description="its token, for temporary credentials"
    )
    upload_chunk_size_mb: int = Field(
        10, ge=5, le=5120, description="MiB per part, more only where UPLOAD_MAX_CHUNKS needs it"
    )
    upload_max_chunks: int = Field(
        10_000, ge=20, le=10_000, description="most parts of an upload; S3 takes 10,000"
    )
    presigned_url_expiry_seconds: int = Field(
        3600, ge=1, le=604_800, description="lifetime of presigned URLs"
    )
    upload_expiry_hours: float = Field(
        168, gt=0, le=8760, description="uploads left unfinished this long are aborted"
    )

    tablet_grace_seconds: float = Field(
        60, ge=0, le=3600, description="how long a lost tablet or recording headset keeps its place"
    )
    lock_ttl_seconds: int = Field(7200, ge=10, description="lifetime of a lock nobody renews")
    max_devices_per_lock_request: int = Field(
        50, ge=1, le=1000, description="most devices in one batch lock"
    )
    rate_limit_multiplier: float = Field(
        1, gt=0, description="scales every rate limit, of sockets and HTTP"
    )

    frame_throttle_ms: float = Field(
        16, ge=0, le=10_000, description="least time between two frames of a headset"
    )
    frame_batch_interval_ms: float = Field(
        33, ge=0, le=10_000, description="least time between two frames of a headset to a viewer"
    )
    max_frame_batch_size: int = Field(
        5,
        ge=1,
        le=1000,
        description="most frames held per headset; the server holds one, the newest",
    )

    socket_ping_interval_ms: int = Field(5000, ge=100, description="time between pings")
    socket_ping_timeout_ms: int = Field(
        10000, ge=100, description="a client that does not answer a ping this long is gone"
    )
    socket_gather_ms: float = Field(
        4, ge=0, le=20, description="how long a busy server gathers frames; 0 reads each at once"
    )
    websocket_protocol: Literal["picows", "picows-plain", "websockets-sansio", "wsproto"] = Field(
        "picows",
        description="WebSocket implementation; picows is the fast one, and faster still compiled",
    )

    session_cleanup_interval_ms: int = Field(
        3_600_000, ge=100, description="time between two clean-ups"
    )
    session_expiry_ms: int = Field(
        86_400_000, ge=1000, description="unfinished sessions without a tablet end after this"
    )
    offline_device_expiry_ms: int = Field(
        604_800_000, ge=1000, description="devices offline this long leave the fleet"
    )

    qa_profile: str = Field(
        "standard", description="thresholds of QA verdicts: `standard`, `strict`, or an own profile"
    )
    qa_profiles: dict[str, dict[str, dict[str, float | None]]] = Field(
        {},
        description='own profiles as JSON: `{"study": {"captureQuality": {"warn": 90}}}`',
    )
    qa_concurrency: int = Field(
        2,
        ge=0,
        le=32,
        description="recordings the server scores at a time; 0 leaves it to `quest-backend worker`",
    )
    qa_max_member_bytes: int = Field(
        64 * 1024 * 1024,
        ge=64 * 1024,
        le=256 * 1024 * 1024,
        description="arrays larger than this are not read for QA",
    )

    @field_validator("bus_urls", mode="before")
    @classmethod
    def _split_addresses(cls, value: object) -> object:
        return addresses.split(value) if isinstance(value, str) else value

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("redis_url")
    @classmethod
    def _is_store(cls, value: str | None) -> str | None:
        if value is not None:
            addresses.parse(value)
        return value

    @field_validator("bus_urls")
    @classmethod
    def _are_stores(cls, value: list[str]) -> list[str]:
        for url in value:
            addresses.parse(url)
        return value

    @field_validator("s3_endpoint_url", "s3_public_endpoint_url")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        plain = parts.path in ("", "/") and not parts.query and not parts.username
        if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
            raise ValueError("not an address: http://host:port or https://host")
        return value.rstrip("/")

    @property
    def embeds_s3(self) -> bool:
        """Whether the server brings its own object store."""
        return self.s3_endpoint_url is None and self.aws_access_key_id is None

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> "Settings":
        if (self.aws_access_key_id is None) != (self.aws_secret_access_key is None):
            raise ValueError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set together")
        return self

    @field_validator("qa_profiles")
    @classmethod
    def _profiles_make_sense(
        cls, value: dict[str, dict[str, dict[str, float | None]]]
    ) -> dict[str, dict[str, dict[str, float | None]]]:
        verdict.profiles(value)
        return value

    @model_validator(mode="after")
    def _profile_is_known(self) -> "Settings":
        if self.qa_profile not in verdict.profiles(self.qa_profiles):
            raise ValueError(f"QA_PROFILE: there is no profile {self.qa_profile!r}")
        return self

    @property
    def qa_judge(self) -> Judge:
        """What makes verdicts of measurements."""
        return Judge.of(verdict.profiles(self.qa_profiles), self.qa_profile)

    @model_validator(mode="after")
    def _production_is_explicit(self) -> "Settings":
        if self.environment != "production":
            return self
        for name in ("jwt_secret", "admin_api_key"):
            secret: SecretStr | None = getattr(self, name)
            if secret is None:
                raise ValueError(f"{name.upper()} must be set when ENVIRONMENT=production")
            if len(secret.get_secret_value()) < 32:
                raise ValueError(f"{name.upper()} must have at least 32 characters in production")
        return self


def load(**overrides: object) -> Settings:
    """Settings from the environment, with ``overrides`` from the command line.

    Raises:
        SettingsError: one line that names the variable and what is wrong with it.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # names and values come from the CLI
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        name = str(problem["loc"][0]).upper() if problem["loc"] else ""
        text = problem["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name}: {text}" if name else text) from None
