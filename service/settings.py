"""Every setting of the service: environment variables that start with ``RAINPOST_``."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from service.databases import is_usable, with_patience
from service.errors import SettingsError
from service.retention_settings import RetentionSettings
from service.signatures import key_of

Provider = Literal["cpu", "cuda"]
"""ONNX Runtime's execution providers that the artefacts run on."""

PREFIX: Final = "RAINPOST_"

_GIBIBYTE: Final = 1024**3


@dataclass(frozen=True)
class SettingDescription:
    """One row of the documentation: environment variable, default as text, meaning."""

    variable: str
    default: str
    meaning: str


class Settings(RetentionSettings):
    """Read once at the start and never changed."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    models_folder: Path = Field(
        default=Path("models"), description="Folder of the model folders `<name>-<version>`."
    )
    model: str | None = Field(
        default=None,
        description="The model to serve as long as nobody has chosen one (`PUT /models/active`, `rainpost "
        "models activate`): `<name>-<version>`, or a name for its highest version. Needed where the folder "
        "holds models of more than one name.",
    )
    shadow_model: str | None = Field(
        default=None,
        description="A second model that runs on every cycle after its product is published, and is scored "
        "beside it without being published, as long as nobody has chosen one (`PUT /models/shadow`, "
        "`rainpost models shadow`). None by default.",
    )
    data_folder: Path = Field(
        default=Path("data"),
        description="Where products, uploads, remapping weights and the job database are kept.",
    )
    input_folders: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Folders from which submissions may refer to files, separated by "
        f"`{os.pathsep}`. None by default: references are then refused.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on.")
    max_body_bytes: int = Field(
        default=8 * _GIBIBYTE, gt=0, description="Largest body of a submission, in bytes."
    )
    max_files: int = Field(default=256, gt=0, description="Most files in one submission.")
    max_wait_seconds: int = Field(
        default=300, ge=0, description="Longest wait that `Prefer: wait=N` is granted, in seconds."
    )
    provider: Provider = Field(
        default="cpu",
        description="ONNX Runtime execution provider, `cpu` or `cuda`. The service does not start on another "
        "one than this.",
    )
    threads: int = Field(
        default=0, ge=0, description="Threads of one inference; 0 lets ONNX Runtime take all cores."
    )
    jobs_at_once: int = Field(default=1, gt=0, description="Jobs that one process works on at the same time.")
    decode_timeout_seconds: float = Field(
        default=600,
        gt=0,
        description="A decoding process that takes longer is ended and its job fails.",
    )
    decode_memory_bytes: int = Field(
        default=2 * _GIBIBYTE,
        ge=_GIBIBYTE // 2,
        description="Most memory that a decoding process may allocate; a job that needs more fails. A small "
        "file can claim a grid that would fill the machine.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="Job database as an SQLAlchemy URL, `postgresql://...` or `sqlite:///...`; "
        "`jobs.sqlite` in the data folder where it is not given. A PostgreSQL database also holds the ledger "
        "of verification, which is otherwise `ledger.sqlite` in the data folder. Limits of "
        "waiting for a server that is silent (`connect_timeout`, `tcp_user_timeout`, ...) are added where "
        "the URL has none.",
    )
    max_queued_jobs: int = Field(
        default=64,
        gt=0,
        description="Most jobs that wait. Further submissions are refused with 429 and `Retry-After`.",
    )
    minimum_free_bytes: int = Field(
        default=_GIBIBYTE,
        ge=0,
        description="With fewer bytes free on the disk of the data folder submissions are refused with 503.",
    )
    minimum_leads: int | None = Field(
        default=None,
        gt=0,
        description="With how many of the model's leads a cycle is published; the others are fill values and "
        "flagged as missing until a new revision brings them. All leads by default.",
    )
    inbox: str | None = Field(
        default=None,
        description="Folder, or fsspec URL such as `s3://bucket/rdaps` (with `rainpost[s3]`; its key and "
        "endpoint are in `AWS_...`), that is looked through for the files of every cycle. None by default: "
        "cycles are then only posted.",
    )
    inbox_pattern: str = Field(
        default="*%Y%m%d%H*",
        description="Which files below the inbox belong to a cycle: a path with `*` (any characters, `/` "
        "too), `?` and `[...]`, in which strftime codes stand for its reference time.",
    )
    inbox_poll_seconds: float = Field(default=30, gt=0, description="How often the inbox is looked at.")
    inbox_settle_seconds: float = Field(
        default=30,
        ge=0,
        description="A file of the inbox is taken once two looks found it with the same size and time of "
        "change, and that time is so long ago; or at once when `<name>.done`, or a file `.done` in its "
        "folder, says that it is complete.",
    )
    cycle_hours: Annotated[tuple[int, ...], NoDecode] = Field(
        default=(0, 6, 12, 18),
        description="Hours, UTC, of the cycles that the inbox is expected to get, separated by commas.",
    )
    cycle_deadline_hours: float = Field(
        default=6,
        gt=0,
        description="How long after its reference time a cycle of the inbox may become complete. Then it is "
        "published with the leads that are there, if they are as many as RAINPOST_MINIMUM_LEADS, and is late "
        "otherwise.",
    )
    gate_z_mean: float = Field(
        default=10,
        gt=0,
        description="Gate before publication: largest absolute mean of a channel's z-scores over the window, "
        "at any lead. What is beyond is kept aside in `quarantine` in the data folder and not published.",
    )
    gate_heaviest_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Gate before publication: largest share of the window, at any lead, for which the "
        "heaviest class is called.",
    )
    observation_folder: Path | None = Field(
        default=None,
        description="Folder that is watched for observations (QPE). None by default: they are then only "
        "posted.",
    )
    observation_poll_seconds: float = Field(
        default=30,
        gt=0,
        description="How often the observation folder is looked at. A file is taken once it has not changed "
        "between two looks.",
    )
    events_poll_seconds: float = Field(
        default=2,
        gt=0,
        description="How often products and observations are looked for while somebody listens to `/events`.",
    )
    shutdown_grace_seconds: int = Field(
        default=15,
        ge=0,
        description="How long a stop waits for running jobs. Those that are not done go on at the next "
        "start.",
    )
    webhook_urls: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Addresses, separated by blanks, to which an event (CloudEvents 1.0) is posted when a "
        "cycle is published, partial, late or failed. None by default.",
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        validate_default=True,
        description="What events are signed with: `whsec_` and 24 to 64 random bytes in base64, as Standard "
        "Webhooks has it. Several, separated by blanks, sign side by side while receivers change from one to "
        "the next. Needed with RAINPOST_WEBHOOK_URLS.",
    )
    webhook_source: str = Field(
        default="urn:rainpost",
        min_length=1,
        description="`source` of the events, a URI that names this installation, such as the address under "
        "which receivers reach it.",
    )
    webhook_timeout_seconds: float = Field(
        default=10, gt=0, description="How long one delivery of an event may take, from first to last."
    )
    webhook_give_up_hours: float = Field(
        default=24,
        gt=0,
        description="How long a receiver that does not take an event is tried again, at growing intervals of "
        "up to an hour.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest level that is logged."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Log lines as `text` for people, or as `json`, one object a line."
    )
    access_log: bool = Field(default=False, description="Whether each request gets a log line.")
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="OpenTelemetry collector, such as `http://collector:4318`, to which traces of requests "
        "and jobs are sent by OTLP over HTTP. None by default: nothing is traced. Needs `rainpost[tracing]`.",
    )

    @field_validator("database_url", mode="after")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        # The text of the error may not show the address: it can hold a password.
        if value is not None and not is_usable(value.get_secret_value()):
            raise ValueError("an address of PostgreSQL or SQLite, postgresql://... or sqlite:///...")
        return value

    @field_validator("input_folders", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value

    @field_validator("cycle_hours", mode="before")
    @classmethod
    def _split_hours(cls, value: object) -> object:
        return tuple(part for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cycle_hours", mode="after")
    @classmethod
    def _hours_of_a_day(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or not all(0 <= hour < 24 for hour in value):
            raise ValueError("hours from 0 to 23, separated by commas, at least one")
        return tuple(sorted(set(value)))

    @field_validator("webhook_urls", mode="before")
    @classmethod
    def _split_urls(cls, value: object) -> object:
        return tuple(dict.fromkeys(value.split())) if isinstance(value, str) else value

    @field_validator("webhook_urls", mode="after")
    @classmethod
    def _addresses(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        # The text of neither error may show an address: its path or query may be what makes it secret.
        for url in value:
            parts = urlsplit(url.get_secret_value())
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("an address begins with http:// or https:// and a host")
            if parts.username is not None:
                raise ValueError("user and password have no place in an address; events are signed instead")
        return value

    @field_validator("webhook_secret", mode="after")
    @classmethod
    def _keys(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("webhook_urls"):
            raise ValueError("needed with RAINPOST_WEBHOOK_URLS")
        if value is not None and not [key_of(secret) for secret in value.get_secret_value().split()]:
            raise ValueError("no secret")
        return value

    @field_validator("observation_folder", mode="after")
    @classmethod
    def _existing_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"no such folder: {value}")
        return None if value is None else value.resolve()

    @field_validator("models_folder", "data_folder", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        # Jobs outlive the process that took them, and so its working directory.
        return value.expanduser().absolute()

    @field_validator("input_folders", mode="after")
    @classmethod
    def _existing(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        lacking = [str(folder) for folder in value if not folder.is_dir()]
        if lacking:
            raise ValueError(f"no such folder: {', '.join(lacking)}")
        return tuple(folder.resolve() for folder in value)

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Self:
        """From the environment. Raises ``SettingsError`` on an unknown name or an invalid value."""
        _refuse_unknown(os.environ if environment is None else environment, set(cls.model_fields))
        try:
            return cls()
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
            raise SettingsError(
                "settings are not valid",
                where=", ".join(_variable(str(fault["loc"][0])) for fault in faults),
                got="; ".join(fault["msg"] for fault in faults),
            ) from error

    @classmethod
    def describe(cls) -> list[SettingDescription]:
        """Every setting, in the order of the documentation."""
        return [
            SettingDescription(_variable(name), _default_text(field.default), field.description or "")
            for name, field in cls.model_fields.items()
        ]

    @property
    def job_database_url(self) -> str:
        """URL of the job database, with its password if it has one: not for logs."""
        if self.database_url is not None:
            return with_patience(self.database_url.get_secret_value())
        return f"sqlite:///{self.data_folder / 'jobs.sqlite'}"

    @property
    def shares_work(self) -> bool:
        """Whether other processes may work on the same jobs, in the same data folder."""
        return self.job_database_url.startswith("postgresql")

    @property
    def webhook_keys(self) -> tuple[bytes, ...]:
        """The keys that sign events: not for logs."""
        secrets = "" if self.webhook_secret is None else self.webhook_secret.get_secret_value()
        return tuple(key_of(secret) for secret in secrets.split())

    @property
    def ledger_database_url(self) -> str:
        """URL of the ledger's database, with its password if it has one: not for logs."""
        if self.shares_work:
            return self.job_database_url
        return f"sqlite:///{self.data_folder / 'ledger.sqlite'}"


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _default_text(default: object) -> str:
    if default is None or default == ():
        return ""
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default)
    return str(default)


def _refuse_unknown(environment: Mapping[str, str], names: set[str]) -> None:
    # pydantic-settings reads the names that it knows and passes over the others in silence.
    known = {_variable(name) for name in names}
    for variable in sorted(environment):
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            nearest = difflib.get_close_matches(variable.upper(), known, n=1, cutoff=0.0)
            raise SettingsError(
                "unknown setting",
                where=variable,
                expected=", ".join(sorted(known)),
                advice=f"did you mean {nearest[0]}?",
            )
