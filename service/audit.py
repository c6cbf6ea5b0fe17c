"""Recomputing a product from what it came from, and comparing.

A product names the digests of its inputs and of its model, the version of the code and the provider. With
the same of all of them the file comes out again byte for byte: even the time of creation is taken from it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import xarray as xr

from service.artefact import Artefact, digest_file, find_models, read_manifest
from service.cycle import read_cycle
from service.errors import ArtefactError, DigestMismatch, InputError, NotFound
from service.inference import Inference
from service.product import Provenance, build_product, write_product
from service.product_comparison import Comparison, compare_products
from service.settings import Provider, Settings
from service.shelf import NETCDF_LOCK
from service.store import Record, Store
from service.times import iso_time, parse_time
from service.versions import rainpost_version

CODE_ATTRIBUTES: Final = frozenset({"code_version", "source", "history"})
"""Global attributes that name the version of the code."""
LATEST: Final = "latest"
PROVIDER_ATTRIBUTES: Final = frozenset({"execution_provider"})
_PROVIDERS: Final[dict[str, Provider]] = {
    "CPUExecutionProvider": "cpu",
    "CUDAExecutionProvider": "cuda",
}


@dataclass(frozen=True)
class ProductOrigin:
    """What a product's file says of where it came from."""

    reference_time: np.datetime64
    leads_hours: tuple[int, ...]
    model: str
    provenance: Provenance

    @classmethod
    def read(cls, path: Path) -> Self:
        """Of a file. Raises ``InputError`` for what is no product."""
        try:
            with NETCDF_LOCK, xr.open_dataset(path, engine="netcdf4") as dataset:
                (time,) = np.atleast_1d(dataset["forecast_reference_time"].values).astype("datetime64[s]")
                attributes = dict(dataset.attrs)
            return cls(
                reference_time=time,
                leads_hours=tuple(int(lead) for lead in np.atleast_1d(attributes["leads_present"])),
                model=f"{attributes['model_name']}-{attributes['model_version']}",
                provenance=_provenance(attributes),
            )
        except (OSError, KeyError, ValueError) as error:
            raise InputError(
                "not a product",
                where=str(path),
                expected="a NetCDF file that Rainpost wrote",
                got=getattr(error, "strerror", None) or str(error),
            ) from error

    @property
    def provider(self) -> Provider:
        """That of the product. Raises ``NotFound`` for one that this code does not know."""
        name = self.provenance.provider
        if name not in _PROVIDERS:
            raise NotFound(
                "the provider that made the product is not at hand",
                where="execution_provider",
                expected=name,
                got=", ".join(_PROVIDERS),
                advice="--provider compares with another one",
            )
        return _PROVIDERS[name]


def _provenance(attributes: dict[str, Any]) -> Provenance:
    lines = [line.split("  ", maxsplit=1) for line in attributes["input_sha256"].splitlines()]
    return Provenance(
        model_sha256=attributes["model_sha256"],
        manifest_sha256=attributes["manifest_sha256"],
        inputs=tuple((name, digest) for digest, name in lines),
        code_version=attributes["code_version"],
        provider=attributes["execution_provider"],
        revision=int(attributes["revision"]),
        created=datetime.fromisoformat(attributes["date_created"]),
        institution=attributes.get("institution"),
    )


def check_published(path: Path) -> None:
    """See that a product that lies beside its record is what was published. Raises ``DigestMismatch``."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return
    record = Record.model_validate_json(beside.read_bytes())
    if (found := digest_file(path)) != record.sha256:
        raise DigestMismatch(
            "the product is not the file that was published",
            where=str(path),
            expected=f"sha256 {record.sha256}, as {beside.name} has it",
            got=f"sha256 {found}",
            advice="restore it from a backup, or remove it",
        )


def check_code(origin: ProductOrigin) -> None:
    """See that this code made the product. Raises ``NotFound``."""
    if origin.provenance.code_version != rainpost_version():
        raise NotFound(
            "the code that made the product is not at hand",
            where="code_version",
            expected=f"rainpost {origin.provenance.code_version}",
            got=f"rainpost {rainpost_version()}",
            advice="install that version, or compare with this one: --any-code",
        )


def find_artefact(models_folder: Path, origin: ProductOrigin) -> Artefact:
    """The model that made the product, its files checked. Raises ``NotFound`` and ``ArtefactError``."""
    wanted = origin.provenance.manifest_sha256
    found = {}
    for folder in find_models(models_folder):
        try:
            found[folder] = read_manifest(folder)[1]
        except ArtefactError:
            # One that is damaged is as good as none.
            continue
    for folder, digest in found.items():
        if digest == wanted:
            return Artefact.load(folder)
    raise NotFound(
        "the model that made the product is not at hand",
        where=f"RAINPOST_MODELS_FOLDER, {models_folder}",
        expected=f"{origin.model} with the manifest sha256 {wanted}",
        got=", ".join(folder.name for folder in found) or "no model",
        advice="install that model there",
    )


def find_inputs(origin: ProductOrigin, places: Iterable[Path]) -> list[Path]:
    """The files that the product was made from, in its order, among files and below folders.

    Files are known by their content; those that have the right name are looked at first. Raises
    ``NotFound`` with the names of those that are missing.
    """
    names = {name for name, _ in origin.provenance.inputs}
    missing = {digest: name for name, digest in origin.provenance.inputs}
    found: dict[str, Path] = {}
    candidates = sorted(_files(places), key=lambda path: path.name not in names)
    for path in candidates:
        if not missing:
            break
        digest = digest_file(path)
        if missing.pop(digest, None) is not None:
            found[digest] = path
    if missing:
        listed = "; ".join(f"{name}, sha256 {digest}" for digest, name in list(missing.items())[:3])
        raise NotFound(
            f"{len(missing)} of the {len(origin.provenance.inputs)} files that the product was made from are "
            "not at hand",
            where=iso_time(origin.reference_time),
            expected=listed + (" ..." if len(missing) > 3 else ""),
            got=f"{len(candidates)} files, none of which is one of these",
            advice="name the files, or folders that hold them, after the product",
        )
    return [found[digest] for _, digest in origin.provenance.inputs]


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from (path for path in sorted(place.rglob("*")) if path.is_file())
        elif place.is_file():
            yield place
        else:
            raise InputError("no such file or folder", where=str(place))


def recompute(
    product: Path,
    origin: ProductOrigin,
    inference: Inference,
    inputs: Sequence[Path],
    weights_folder: Path,
    ignored: frozenset[str],
) -> Comparison:
    """Make the product again, from its inputs, and compare.

    ignored: names of global attributes that may differ. Raises the errors of ``read_cycle`` and
    ``InferenceError``.
    """
    manifest = inference.artefact.manifest
    cycle = read_cycle(
        inputs,
        manifest.cycle,
        weights_folder=weights_folder,
        expected_reference_time=origin.reference_time,
        minimum_leads=len(origin.leads_hours),
    )
    probabilities = inference.infer(cycle.values)
    made = origin.provenance
    provenance = Provenance(
        model_sha256=inference.artefact.model_sha256,
        manifest_sha256=inference.artefact.sha256,
        inputs=made.inputs,
        code_version=rainpost_version(),
        provider=inference.runtime_provider,
        revision=made.revision,
        created=made.created,
        institution=made.institution,
    )
    dataset = build_product(cycle, probabilities, manifest, provenance)
    with tempfile.TemporaryDirectory(prefix="rainpost-audit-") as folder, NETCDF_LOCK:
        again = Path(folder) / "again.nc"
        write_product(dataset, again)
        return compare_products(product, again, ignored)


def find_product(settings: Settings, text: str, revision: int | None) -> Path:
    """A file, or the product of a cycle in the data folder: its newest revision unless one is named.

    Raises ``NotFound`` and ``RequestError``.
    """
    path = Path(text)
    if path.suffix == ".nc" or path.exists():
        if not path.is_file():
            raise NotFound("no such product", where=text)
        return path
    products = settings.data_folder / "products"
    if not products.is_dir():
        raise NotFound("no product was published here", where=f"RAINPOST_DATA_FOLDER, {settings.data_folder}")
    store = Store(products)
    time = store.latest() if text == LATEST else parse_time(text, where="PRODUCT")
    return store.product_path(store.record(time, revision))


def kept_uploads(settings: Settings) -> list[Path]:
    """Folders of uploads that the service still has."""
    return sorted((settings.data_folder / "work" / "jobs").glob("*/inputs"))
