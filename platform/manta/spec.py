"""What an encoder is given: the form and the sizes of its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:  # configurations and decode tasks import this module without torch
    import torch
    from torch import Tensor

    from manta.ragged import Data

Form: TypeAlias = str
"""Kind of input: one of those below, or the word of a subclass of `Spec`."""
ANY_FORM: Form = "any"
"""What an encoder names in `takes` that can be built for every form."""
_PIECES = 8
"""Length of a sequence in an example, where the sequences have any."""


@dataclass(frozen=True, slots=True)
class Spec:
    """Form and sizes of what an encoder takes.

    A modality whose input is of another kind has a subclass with a form of its own, and an
    `example` of it.

    Attributes:
        form: "grid": a tensor `[B, channels, *size]`, such as an image or a spectrogram;
            "sequence": a tensor `[B, channels, length]`, or ragged rows `[length, channels]` where
            the length is None; "ids": ragged rows of token numbers below `vocabulary`; "parts": a
            mapping of such inputs by name, such as a molecule's atoms and bonds.
        channels: of a grid or a sequence.
        size: sides of a grid, or the one length of a sequence; None for any.
        vocabulary: how many token numbers there are.
        parts: names and specs of several inputs.
    """

    form: Form = "grid"
    channels: int = 3
    size: tuple[int | None, ...] = ()
    vocabulary: int = 0
    parts: tuple[tuple[str, Spec], ...] = ()

    @classmethod
    def image(cls, side: int) -> Spec:
        """Return the spec of square RGB images."""
        return cls("grid", 3, (side, side))

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Spec:
        """Return the spec that `describe` wrote; of an older description, that of its images."""
        if "form" not in description:
            return cls.image(int(description["image_size"]))
        known = {**description, "size": tuple(description["size"])}
        parts = description.get("parts", {})
        known["parts"] = tuple((name, cls.from_description(one)) for name, one in parts.items())
        return cls(**{one.name: known[one.name] for one in fields(cls) if one.name in known})

    def describe(self) -> dict[str, Any]:
        """Return the spec as plain data."""
        description = {
            "form": self.form,
            "channels": self.channels,
            "size": list(self.size),
            "vocabulary": self.vocabulary,
        }
        parts = {name: one.describe() for name, one in self.parts}
        return description | ({"parts": parts} if parts else {})

    @property
    def is_image(self) -> bool:
        """Whether the input is a square RGB image."""
        return self.form == "grid" and self.channels == 3 and len(set(self.size)) == 1

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of a grid, all of which are known."""
        return tuple(int(side) for side in self.size if side is not None)

    @property
    def side(self) -> int:
        """The side of a square grid, else its longest side."""
        return max(self.sides)

    def resized(self, *size: int) -> Spec:
        """Return the spec with other sides; one number for a square."""
        return replace(self, size=size * len(self.size) if len(size) == 1 else size)

    def example(self, rows: int = 2, *, generator: torch.Generator | None = None) -> Data:
        """Return an input of `rows` samples: zeros, or noise of a generator; ids are 0 upwards."""
        import torch

        from manta.ragged import Ragged

        def filled(*shape: int) -> Tensor:
            if generator is None:
                return torch.zeros(shape)
            return torch.randn(shape, generator=generator)

        if self.parts:
            return {name: one.example(rows, generator=generator) for name, one in self.parts}
        sides = [side or _PIECES for side in self.size]
        if self.form == "ids":
            # Unequal lengths: an encoder that ignores them should fail here and not in training.
            lengths = torch.tensor([_PIECES - row % 2 for row in range(rows)])
            total = int(lengths.sum())
            return Ragged(torch.arange(total) % max(self.vocabulary, 1), lengths)
        if self.form == "sequence" and self.size == (None,):
            lengths = torch.tensor([_PIECES - row % 2 for row in range(rows)])
            return Ragged(filled(int(lengths.sum()), self.channels), lengths)
        return filled(rows, self.channels, *sides)

    def __str__(self) -> str:
        """Return words such as "grids of 3 x 32 x 32"."""
        if self.form == "ids":
            return f"token numbers below {self.vocabulary}"
        if self.parts:
            return "; ".join(f"{name}: {one}" for name, one in self.parts)
        sides = " x ".join("any" if side is None else str(side) for side in self.size)
        return f"{self.form.removesuffix('s')}s of {self.channels} x {sides}"
