"""The contract of a modality: what a sample is, from bytes to an encoder's input and to a picture.

Decode tasks import this module and a modality's `decode`; neither may import torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from manta.errors import ConfigError
from manta.leaves import Columns, Stack, take
from manta.modalities._decoder import Decoder, Picture
from manta.modalities._floor import Floor
from manta.modalities._frames import SignalFrames
from manta.modalities._inspect import DecodingInspector, Inspector, Learner
from manta.modalities._noun import ROWS, Noun
from manta.modalities.config import DataConfig
from manta.registry import Registry

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from manta.batch import ViewNeeds
    from manta.modalities.preprocess import Preprocess
    from manta.ragged import Leaves
    from manta.spec import Spec
    from manta.views import ViewPipeline, ViewsConfig


THUMBNAIL = 64
"""Side of a picture in pixels."""
Stats = Mapping[str, Any]
"""What an ingest measured of a dataset, as plain data: see the modality's inspector."""
D = TypeVar("D", bound=DataConfig)


class Modality(ABC, Generic[D]):
    """What a sample is: how it is decoded, looked at by an objective, given to an encoder, shown.

    A subclass is registered by `@MODALITIES.register(name)`.

    Args:
        data: the section `data` of an experiment, an instance of `Config`.
        stats: of the dataset; empty where there is none yet.

    Attributes:
        Config: model of the section `data`.
        name: under which it is registered.
        views_name: the view pipeline that is taken where `views.name` is not given.
        noun: what bars and pages count, in the plural: "images", "clips".
        singular: of `noun`; empty: without its "s".
        suffixes: of its files, with the dot, in lower case.
        columns: names by which a table's column of samples is recognised.
        searchable: settings of `data` that a search space may have.
        captioned: pages show captions in place of pictures.
    """

    Config: ClassVar[type[DataConfig]]
    name: ClassVar[str]
    views_name: ClassVar[str]
    noun: ClassVar[str]
    singular: ClassVar[str] = ""
    suffixes: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ()
    searchable: ClassVar[tuple[str, ...]] = ()
    captioned: ClassVar[bool] = False

    def __init__(self, data: D, stats: Stats) -> None:
        self.data = data
        self.stats = stats

    @property
    def is_complete(self) -> bool:
        """Whether the spec is known; that of some modalities is only after an ingest."""
        return True

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """What an encoder is given."""

    @abstractmethod
    def decoder(self) -> Decoder:
        """Return the decoder of rows into the leaves that views and `preprocess` take."""

    def inspector(self) -> Inspector:
        """Return the inspector of samples at an ingest: of itself, one that decodes them."""
        return DecodingInspector(self.decoder(), str(self.data.modality))

    @property
    def rate(self) -> float | None:
        """Return how many units of the row's axis, as in `View.box`, a second has, if known."""
        return None

    def frames(self) -> SignalFrames:
        """Return the way to frames of the raw signal, whose clusters are units to begin with.

        Raises:
            ConfigError: this modality has none.
        """
        raise ConfigError(
            f"data.modality={self.data.modality} has no frames of its raw signal to make units of; "
            "name a model whose layer has"
        )

    def learner(self) -> Learner | None:
        """Return what an ingest asks once, after its last shard; None: there is nothing to learn.

        Raises:
            ConfigError: it cannot learn here, which an ingest hears before it begins.
        """
        return None

    def check_learnt(self) -> None:
        """Check that what an ingest learnt is what the settings name, before a run begins.

        Raises:
            ConfigError: they name something else.
        """

    def views(self, config: ViewsConfig, needs: ViewNeeds) -> ViewPipeline[Any]:
        """Return the pipeline from decoded rows to the views of an objective.

        Raises:
            ConfigError: the pipeline cannot make what the objective needs.
        """
        from manta.views import VIEWS, check_asks  # brings torch, which decode tasks do without

        kind = VIEWS[config.name]
        check_asks(config.name, kind.honours, needs)
        return kind.of(config, needs, self)

    @abstractmethod
    def preprocess(self, config: ViewsConfig) -> Preprocess:
        """Return the way from decoded rows, and from what a stranger has, to an encoder's input."""

    @classmethod
    @abstractmethod
    def preprocess_from(cls, description: Mapping[str, Any]) -> Preprocess:
        """Return the preprocessing whose `describe` gave the description."""

    def floor(self) -> Floor | None:
        """Return features that nothing has learned, which results are shown beside.

        They are made of what `decoder` gives; None where the modality has none.
        """
        return None

    @abstractmethod
    def picture(self, row: Columns) -> Picture:
        """Return something to look at for a decoded row: columns of one row."""

    def picture_of(self, data: bytes, side: int = THUMBNAIL) -> Picture:
        """Return something to look at for a row's bytes, `side` pixels wide at most.

        Raises:
            BadSample: the bytes cannot be decoded.
        """
        decoder = self.decoder()
        stack = Stack(decoder.layout, 1)
        stack.add(decoder(data, None))
        return self.picture(stack.columns())

    def pictures(self, data: Leaves, longest: int = THUMBNAIL) -> Tensor:
        """Return something to look at for decoded rows, `[B, h, w, 3]` uint8 on the CPU.

        Args:
            longest: largest side in pixels.
        """
        import torch

        shape = (0, THUMBNAIL, THUMBNAIL, 3)
        shown = [torch.from_numpy(np.array(one.pixels)) for one in self.pictured(data)]
        return torch.stack(shown) if shown else torch.empty(shape, dtype=torch.uint8)

    def pictured(self, data: Leaves) -> list[Picture]:
        """Return what pages show of decoded rows: pictures with their captions and sounds."""
        from manta.ragged import as_columns, count_rows

        columns = as_columns(data)
        return [self.picture(take(columns, slice(i, i + 1))) for i in range(count_rows(data))]

    def sampled(self, rows: int, generator: Generator) -> Leaves:
        """Return random rows, as the decoder gives them, to try an objective on."""
        from manta.ragged import sampled

        return sampled(self.decoder().layout, rows, generator)


def default_modality(name: str | None) -> Modality[Any] | None:
    """Return a modality with its own settings; None for no name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name is None:
        return None
    kind = MODALITIES[name]
    return kind(kind.Config(source=""), {})


MODALITIES: Registry[type[Modality[Any]]] = Registry("modalities", "manta.modalities")


def is_captioned(modality: str | None) -> bool:
    """Return whether pages show the captions of samples in place of pictures."""
    return modality is not None and modality in MODALITIES and MODALITIES[modality].captioned


def noun_of(modality: str | None) -> Noun:
    """Return what the samples of a modality are called: of None images, of an unknown one rows."""
    name = modality or "image"
    if name not in MODALITIES:
        return ROWS
    kind = MODALITIES[name]
    return Noun(kind.noun, kind.singular or kind.noun.removesuffix("s"))
