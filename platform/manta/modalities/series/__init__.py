"""Series: windows of sensors and other values over time, of one channel or many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from manta.leaves import Columns, Packed
from manta.modalities import MODALITIES, Modality, Picture
from manta.modalities.config import DataConfig
from manta.modalities.series.decoder import LEAF, Normalise, SeriesDecoder
from manta.modalities.series.inspect import (
    SeriesInspector,
    channel_count,
    lengths,
    moments,
    names_of,
)
from manta.modalities.series.picture import plot
from manta.spec import Spec

if TYPE_CHECKING:
    from manta.modalities.series.floor import RawValues
    from manta.modalities.series.preprocess import SeriesPreprocess
    from manta.views import ViewsConfig

__all__ = ["Series", "SeriesConfig", "SeriesDecoder"]


class SeriesConfig(DataConfig):
    """Settings of the series: where they come from and how they reach a worker."""

    of_source: ClassVar[tuple[str, ...]] = ("window", "stride", "time", "id")
    of_samples: ClassVar[tuple[str, ...]] = ("window", "stride")

    modality: Literal["series"] = Field("series", description="what a sample is: a series")
    length: int | None = Field(
        None,
        ge=2,
        description="values over time that the encoder is given, to which every window is "
        "stretched; None: as many as the rows have",
    )
    window: int | None = Field(
        None,
        ge=2,
        description="values over time that a recording is cut into at ingest; None: it is one row",
    )
    stride: int | None = Field(
        None, ge=1, description="values from one window to the next; None: the window's length"
    )
    time: str | None = Field(
        None, description="column of time, where a table has a value a row; None: by its name"
    )
    id: str | None = Field(
        None, description="column that tells such a table's recordings apart; None: by its name"
    )
    longest: int = Field(
        4096, ge=2, description="longest row that is decoded; of a longer one a part is drawn"
    )
    channels: tuple[str, ...] | None = Field(
        None, description="names of the channels to take, in this order; None: all"
    )
    normalise: Normalise = Field(
        "row",
        description="row: each channel of a row to mean 0 and deviation 1; data: by those of the "
        "whole data; none: values as they are",
    )


@MODALITIES.register("series")
class Series(Modality[SeriesConfig]):
    """Values over time: windows of sensors, ECGs, meter readings; of equal or unequal lengths."""

    Config = SeriesConfig
    name = "series"
    views_name = "series"
    noun = "windows"
    suffixes = (".ts",)
    columns = ("series", "values", "signal", "window", "timeseries")
    searchable: ClassVar[tuple[str, ...]] = ("length", "normalise")

    @property
    def is_complete(self) -> bool:
        return bool(self.stats)

    @property
    def spec(self) -> Spec:
        return Spec("sequence", self.channels, (self.data.length or self.common_length,))

    @property
    def channels(self) -> int:
        """Number of channels that are taken; 1 before anything is known of the data."""
        if self.data.channels is not None:
            return len(self.data.channels)
        return channel_count(self.stats) or 1

    @property
    def common_length(self) -> int | None:
        """The length that all rows have; None where they differ, or are longer than decoded."""
        shortest, longest = lengths(self.stats) or (0, 0)
        is_common = longest > 0 and longest == shortest
        return longest if is_common and longest <= self.data.longest else None

    @property
    def longest(self) -> int:
        """The longest row after decoding."""
        measured = lengths(self.stats)
        return min(measured[1], self.data.longest) if measured else self.data.longest

    @property
    def unit(self) -> tuple[float, ...]:
        """Deviation of each channel after decoding, by which noise is scaled."""
        if self.data.normalise != "none" or not self.stats:
            return (1.0,) * self.channels
        return self._moments()[1]

    def decoder(self) -> SeriesDecoder:
        is_by_data = self.data.normalise == "data" and bool(self.stats)
        mean, std = self._moments() if is_by_data else ((0.0,) * self.channels, self.unit)
        measured = lengths(self.stats)
        return SeriesDecoder(
            self.channels,
            names=self.data.channels or (),
            length=self.common_length,
            longest=self.longest,
            cuts=measured is None or measured[1] > self.data.longest,
            normalise=self.data.normalise,
            mean=mean,
            std=std,
        )

    def inspector(self) -> SeriesInspector:
        return SeriesInspector(self.data.channels or ())

    def preprocess(self, config: ViewsConfig) -> SeriesPreprocess:
        from manta.modalities.series.preprocess import SeriesPreprocess

        return SeriesPreprocess(self.decoder(), self.data.length or self.common_length)

    @classmethod
    def preprocess_from(cls, description: Mapping[str, Any]) -> SeriesPreprocess:
        from manta.modalities.series.preprocess import SeriesPreprocess

        decoder: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in description["decoder"].items()
        }
        return SeriesPreprocess(SeriesDecoder(**decoder), description["length"])

    def floor(self) -> RawValues:
        from manta.modalities.series.floor import RawValues

        length = self.common_length or self.data.length or self.longest
        return RawValues(length, self.channels, self.data.normalise)

    def picture(self, row: Columns) -> Picture:
        """Return a line plot of a decoded row, and its length as caption."""
        column = row[LEAF]
        values = column.values if isinstance(column, Packed) else column[0]
        channels = f" x {values.shape[1]}" if values.shape[1] > 1 else ""
        return Picture(plot(np.asarray(values)), f"{len(values)}{channels}")

    def _moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and deviation of each channel that is taken, over the whole data."""
        both = moments(self.stats)
        if self.data.channels is None:
            return both
        names = names_of(self.stats)
        places = [names.index(name) for name in self.data.channels if name in names]
        mean, std = (tuple(of_all[place] for place in places) for of_all in both)
        return mean, std
