"""Every setting of the service: environment variables that start with ``RAINPOST_``."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.errors import SettingsError

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


class Settings(BaseSettings):
    """Read once at the start and never changed."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    models_folder: Path = Field(
        default=Path("models"), description="Folder of the model folders `<name>-<version>`."
    )
    model: str | None = Field(
        default=None,
        description="The model to serve: `<name>-<version>`, or a name for its highest version. Needed where "
        "the folder holds models of more than one name.",
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
    database_url: SecretStr | None = Field(
        default=None,
        description="Job database as an SQLAlchemy URL, `postgresql://...` or `sqlite:///...`; "
        "`jobs.sqlite` in the data folder where it is not given. A PostgreSQL database also holds the ledger "
        "of verification, which is otherwise `ledger.sqlite` in the data folder.",
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
    shutdown_grace_seconds: int = Field(
        default=15,
        ge=0,
        description="How long a stop waits for running jobs. Those that are not done go on at the next "
        "start.",
    )
    failed_retention_hours: float = Field(
        default=72,
        ge=0,
        description="How long the uploaded files of a failed job are kept.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest level that is logged."
    )

    @field_validator("input_folders", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value

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
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_folder / 'jobs.sqlite'}"

    @property
    def ledger_database_url(self) -> str:
        """URL of the ledger's database, with its password if it has one: not for logs."""
        if self.job_database_url.startswith("postgresql"):
            return self.job_database_url
        return f"sqlite:///{self.data_folder / 'ledger.sqlite'}"


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _default_text(default: object) -> str:
    if default is None or default == ():
        return ""
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
