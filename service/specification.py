"""What a model asks of a cycle: channels, leads, source and target grid. Part of its manifest.

This, with the channel table, is all that the service knows of a country or of a forecast model.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.channels import CHANNELS, PRECIPITATION_CHANNEL


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LambertDefinition(_Strict):
    """A Lambert conformal conic grid on a sphere (CF ``lambert_conformal_conic``).

    The point (``origin_x``, ``origin_y``), counted from 0 and allowed to lie between points, has the
    latitude and longitude of the projection's origin.
    """

    kind: Literal["lambert_conformal_conic"] = "lambert_conformal_conic"
    nx: int = Field(gt=1)
    ny: int = Field(gt=1)
    spacing_m: float = Field(gt=0)
    standard_parallels_degrees: tuple[float, float]
    origin_latitude_degrees: float
    origin_longitude_degrees: float
    origin_x: float
    origin_y: float
    earth_radius_m: float = Field(gt=6.3e6, lt=6.4e6)


class LatitudeLongitudeDefinition(_Strict):
    """A regular latitude-longitude grid; row 0 lies at ``first_latitude_degrees``."""

    kind: Literal["latitude_longitude"] = "latitude_longitude"
    nx: int = Field(gt=1)
    ny: int = Field(gt=1)
    first_latitude_degrees: float
    first_longitude_degrees: float
    latitude_step_degrees: float
    longitude_step_degrees: float


GridDefinition = Annotated[LambertDefinition | LatitudeLongitudeDefinition, Field(discriminator="kind")]


class Window(_Strict):
    """The rectangle of the target grid that the network sees, in points counted from 0."""

    y_start: int = Field(ge=0)
    x_start: int = Field(ge=0)
    ny: int = Field(gt=0)
    nx: int = Field(gt=0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """(y, x), of arrays on the target grid."""
        return (
            slice(self.y_start, self.y_start + self.ny),
            slice(self.x_start, self.x_start + self.nx),
        )


class Source(_Strict):
    """The forecast model whose files are accepted.

    centres: WMO common code table C-11; empty accepts any. Files that do not name a centre pass.
    spacing_m: accepted range of the source grid's spacing, None accepts any.
    winds_relative_to: what vectors point along where the file itself does not say.
    """

    name: str
    centres: tuple[int, ...] = ()
    spacing_m: tuple[float, float] | None = None
    winds_relative_to: Literal["earth", "grid"] | None = None


class CycleSpecification(_Strict):
    """Channels in the order of the network's input, leads, and where to put them.

    precipitation_hours: length of the period that ends at each lead and whose amount is the
    precipitation channel (mm). The name of the channel says 1 h, which is the default.
    """

    source: Source
    channels: tuple[str, ...]
    leads_hours: tuple[int, ...]
    precipitation_hours: int = Field(default=1, gt=0)
    target: GridDefinition
    window: Window

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unknown = [name for name in self.channels if name not in CHANNELS]
        if unknown:
            raise ValueError(f"unknown channels: {unknown}")
        if len(set(self.channels)) != len(self.channels):
            raise ValueError("a channel is named twice")
        if PRECIPITATION_CHANNEL not in self.channels:
            raise ValueError(f"{PRECIPITATION_CHANNEL} must be a channel: the product shows the raw rain")
        if not self.leads_hours or list(self.leads_hours) != sorted(set(self.leads_hours)):
            raise ValueError("leads_hours must be increasing and not empty")
        if self.leads_hours[0] < self.precipitation_hours:
            raise ValueError("the first lead must not be shorter than precipitation_hours")
        if (
            self.window.y_start + self.window.ny > self.target.ny
            or self.window.x_start + self.window.nx > self.target.nx
        ):
            raise ValueError("the window does not lie inside the target grid")
        return self
