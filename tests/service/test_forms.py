"""Every representation over HTTP: entity tag, conditions, ranges, HEAD, gzip, what caches may do."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from service.edr_documents import COVERAGE_JSON_TYPE
from service.routes.state import GEOTIFF, GRIB2, NETCDF
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_service import ServiceClient, problem, submit

ASKED, FOR_A_DAY, FOR_EVER = "no-cache", "public, max-age=86400", "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Form:
    """How a form is asked for, and what is true of it.

    path: with CYCLE for the reference time. gzip: whether it comes so where that is accepted.
    asked: Cache-Control of the path; fixed: where it names a revision too, None where it cannot.
    """

    path: str
    media_type: str
    accept: str = "*/*"
    asked: str = ASKED
    fixed: str | None = None
    gzip: bool = True

    @property
    def negotiated(self) -> bool:
        """Whether its address has other forms too."""
        return self.path == "/" or any(part in self.path for part in ("/product", "/position", "/cube"))

    @property
    def name(self) -> str:
        return f"{self.path} {self.accept}"


PRODUCT = "/cycles/CYCLE/product"
INSTANCE = "/collections/precipitation/instances/CYCLE"
PLACE = "coords=POINT(126 38)"
JSON = "application/json"
WMS = "/wms?SERVICE=WMS&VERSION=1.3.0"
MAP = "LAYERS=raw&STYLES=&CRS=CRS:84&BBOX=120,30,135,45&WIDTH=64&HEIGHT=64&FORMAT=image/png"
FORMS = (
    Form(PRODUCT, NETCDF, fixed=FOR_EVER, gzip=False),
    Form("/cycles/CYCLE/revisions/1.nc", NETCDF, asked=FOR_EVER, gzip=False),
    Form("/cycles/CYCLE/revisions/1.zarr/zarr.json", JSON),
    Form("/cycles/CYCLE/revisions/1.zarr/most_likely_class/c/0/0/0", "application/octet-stream", gzip=False),
    Form(PRODUCT, GRIB2, GRIB2, fixed=FOR_A_DAY, gzip=False),
    Form(f"{PRODUCT}?lead=3", GRIB2, GRIB2, fixed=FOR_A_DAY, gzip=False),
    Form(f"{PRODUCT}?lead=3", GEOTIFF, "image/tiff", fixed=FOR_A_DAY, gzip=False),
    Form(f"{PRODUCT}?lead=3", "image/png", "image/png", fixed=FOR_A_DAY, gzip=False),
    Form(f"{PRODUCT}?lat=38&lon=126", JSON, JSON, fixed=FOR_A_DAY),
    Form("/cycles/CYCLE/layers", JSON),
    Form("/cycles/CYCLE/layers/raw", "application/octet-stream"),
    Form("/cycles/CYCLE/map", JSON),
    Form(f"{INSTANCE}/position?{PLACE}", COVERAGE_JSON_TYPE, fixed=FOR_A_DAY),
    Form(f"{INSTANCE}/cube?bbox=100,0,150,80", NETCDF, NETCDF, fixed=FOR_A_DAY, gzip=False),
    Form(INSTANCE, JSON),
    Form("/collections", JSON),
    Form(f"{WMS}&REQUEST=GetCapabilities", "text/xml; charset=utf-8"),
    Form(f"{WMS}&REQUEST=GetMap&{MAP}", "image/png", gzip=False),
    Form(f"{WMS}&REQUEST=GetFeatureInfo&{MAP}&QUERY_LAYERS=raw&I=4&J=4", JSON),
    Form(f"{WMS}&REQUEST=GetLegendGraphic&LAYER=raw", "image/png", gzip=False),
    Form("/conformance", JSON),
    Form("/", JSON),
    Form("/", "text/html; charset=utf-8", "text/html"),
    Form("/page/map.js", "text/javascript; charset=utf-8"),
)
EVERY = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


@pytest.fixture(scope="module")
def cycle(client: ServiceClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference time of the one cycle."""
    folder: Path = tmp_path_factory.mktemp("cycle")
    answer = submit(client, write_cycle(folder, replaced(reference_time=REFERENCE_TIME)))
    assert answer.status_code == 200, answer.text
    return f"{REFERENCE_TIME.astype('datetime64[s]')}Z"


def ask(client: ServiceClient, form: Form, cycle: str, method: str = "GET", **headers: str) -> httpx.Response:
    """With identity unless another coding is named; the content as it came over the line."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with client.stream(
        method,
        form.path.replace("CYCLE", cycle),
        headers={"Accept": form.accept, "Accept-Encoding": "identity"} | named,
    ) as answer:
        answer._content = b"".join(answer.iter_raw())
    return answer


@EVERY
def test_the_whole_and_its_headers(client: ServiceClient, cycle: str, form: Form) -> None:
    answer = ask(client, form, cycle)
    assert (answer.status_code, answer.headers["content-type"]) == (200, form.media_type)
    assert re.fullmatch(r'"[^"]+"', answer.headers["etag"]), "a strong entity tag"
    assert answer.headers["cache-control"] == form.asked
    assert int(answer.headers["content-length"]) == len(answer.content) > 0
    vary = {part.strip() for part in answer.headers.get("vary", "").split(",")} - {""}
    assert ("Accept-Encoding" in vary) == form.gzip
    assert ("Accept" in vary) == form.negotiated
    head = ask(client, form, cycle, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    same = set(answer.headers) - {"date", "x-request-id"}
    assert {name: head.headers.get(name) for name in same} == {name: answer.headers[name] for name in same}


@EVERY
def test_what_the_client_has_is_not_sent(client: ServiceClient, cycle: str, form: Form) -> None:
    answer = ask(client, form, cycle)
    etag = answer.headers["etag"]
    for known in (etag, f'"other", W/{etag}', "*"):
        for method in ("GET", "HEAD"):
            again = ask(client, form, cycle, method, If_None_Match=known)
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == etag
            assert again.headers.get("vary") == answer.headers.get("vary")
            assert again.headers["cache-control"] == answer.headers["cache-control"]
    assert ask(client, form, cycle, If_None_Match='"other"').status_code == 200


@EVERY
def test_parts(client: ServiceClient, cycle: str, form: Form) -> None:
    answer = ask(client, form, cycle)
    whole, etag = answer.content, answer.headers["etag"]
    assert answer.headers["accept-ranges"] == "bytes"
    for asked, part in (("bytes=1-3", whole[1:4]), ("bytes=5-", whole[5:]), ("bytes=-4", whole[-4:])):
        for condition in ({}, {"If_Range": etag}):
            found = ask(client, form, cycle, Range=asked, **condition)
            assert (found.status_code, found.content) == (206, part)
            assert found.headers["etag"] == etag
    assert ask(client, form, cycle, Range="bytes=1-3", If_Range='"other"').content == whole
    assert ask(client, form, cycle, Range="bytes=1-3", If_None_Match=etag).status_code == 304
    beyond = ask(client, form, cycle, Range=f"bytes={len(whole)}-")
    problem(beyond, 416, "http-416")
    assert beyond.headers["content-range"] == f"bytes */{len(whole)}"
    problem(ask(client, form, cycle, Range="bytes=x"), 400, "bad-request")


@EVERY
def test_gzip_where_it_pays(client: ServiceClient, cycle: str, form: Form) -> None:
    plain = ask(client, form, cycle)
    packed = ask(client, form, cycle, Accept_Encoding="gzip")
    assert (packed.headers.get("content-encoding") == "gzip") == form.gzip
    assert (gzip.decompress(packed.content) if form.gzip else packed.content) == plain.content
    assert (packed.headers["etag"] != plain.headers["etag"]) == form.gzip
    again = ask(client, form, cycle, Accept_Encoding="gzip", If_None_Match=packed.headers["etag"])
    assert (again.status_code, again.headers["etag"]) == (304, packed.headers["etag"])
    assert "content-encoding" not in ask(client, form, cycle, Accept_Encoding="gzip;q=0").headers


@pytest.mark.parametrize(
    "form", [form for form in FORMS if form.fixed is not None], ids=lambda form: form.name
)
def test_a_revision_is_kept(client: ServiceClient, cycle: str, form: Form) -> None:
    path = f"{form.path}{'&' if '?' in form.path else '?'}revision=1"
    fixed = Form(path, form.media_type, form.accept, gzip=form.gzip)
    answer = ask(client, fixed, cycle)
    assert answer.headers["cache-control"] == form.fixed
    assert answer.content == ask(client, form, cycle).content
    assert ask(client, fixed, "latest").headers["cache-control"] == ASKED, "the newest is not always the same"
