"""A method that asks for a clean twin and windows with masks, in the training step."""

from __future__ import annotations

from typing import Any, Literal, cast

import pytest
import torch
from torch import Tensor, nn

from manta import encoders
from manta.batch import Ask, Batch, DataFacts, Mask, Progress, Same, View, ViewNeeds, Within
from manta.config import from_mapping
from manta.encoders import Encoder, EncoderConfig
from manta.encoders.patchtst import PatchTST
from manta.objectives import Objective, ObjectiveConfig
from manta.objectives.data2vec import Data2Vec, Data2VecConfig
from manta.ragged import Ragged
from manta.spec import Spec
from manta.training.step import TrainStep

LENGTHS = torch.tensor([24, 57, 31, 9, 18, 60, 40, 12])
ROWS, PATCH = len(LENGTHS), 3
STATS = {"length": {"least": 9, "most": 60}, "channels": {"least": 1, "most": 1}}
ARGS = {"patch": PATCH, "dim": 8, "depth": 1, "heads": 1, "dropout": 0.0}


class TwinConfig(ObjectiveConfig):
    """Settings of `Twin`."""

    name: Literal["twin"] = "twin"


class Twin(Objective[TwinConfig]):
    """What is hidden of a view is told from its clean twin, and of a window near it from itself."""

    Config = TwinConfig

    def __init__(self, config: TwinConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.tokens = cast(PatchTST, encoder)
        self.tokens.learn_hidden()
        self.head = nn.Linear(encoder.embed_dim, PATCH)

    @property
    def needs(self) -> ViewNeeds:
        near = Ask(after=0, gap=Within(-4, 4), mask=Mask("group", 0.4, {"size": 2}))
        twin = Ask(after=0, gap=Same(), mask=Mask("span", 0.4, {"length": 2}))
        return ViewNeeds(
            asks=(Ask("target"), twin, near),
            mask_grid=self.tokens.grid,
            token_lengths=self.tokens.token_lengths,
        )

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        (target,), (twin, near) = batch.target_views, batch.global_views
        assert target.box is not None
        assert twin.box is not None
        assert torch.equal(target.box, twin.box)
        return {"loss": self.told(twin, target) + self.told(near, near)}

    def told(self, view: View, of: View) -> Tensor:
        """Return the mean over samples of that over hidden tokens of the squared distance."""
        wanted = self.tokens.patches(of.data)
        assert view.mask is not None
        hidden = view.mask[:, : wanted.shape[1]]
        each = (self.head(self.tokens.tokens(view.data, hide=hidden)) - wanted).square().mean(2)
        return ((each * hidden).sum(1) / hidden.sum(1)).mean()


def losses(accumulate: int, length: int | None, *, method: str = "twin") -> list[float]:
    """Return the losses of three steps on rows of unequal lengths."""
    config = from_mapping(
        {
            "data": {"source": "x", "modality": "series", "length": length},
            "encoder": {"name": "patchtst"},
            "objective": {"name": "simclr"},
            "optimizer": {"name": "sgd", "lr": 0.1, "schedule": {"name": "constant"}},
            "train": {"batch_size": ROWS, "accumulate": accumulate, "precision": "float32"},
        }
    )
    torch.manual_seed(0)
    spec = Spec("sequence", 1, (length,))
    encoder = encoders.build(EncoderConfig(name="patchtst", args=ARGS), spec)
    facts = DataFacts(ROWS, spec)
    objective: Objective[Any] = (
        Twin(TwinConfig(), encoder, facts)
        if method == "twin"
        else Data2Vec(Data2VecConfig(masks=3, mask_length=2), encoder, facts)
    )
    step = TrainStep(
        config, objective.train(), device=torch.device("cpu"), total_steps=9, stats=STATS
    )
    values = torch.randn(int(LENGTHS.sum()), 1, generator=torch.Generator().manual_seed(1))
    data = {"series": Ragged(values, LENGTHS)}
    terms = [step(data, torch.arange(ROWS), number)["loss"] for number in range(3)]
    assert step.first_views is not None
    roles = {"twin": ["target", "global", "global"], "data2vec": ["global"] * 3}
    assert [view.role for view in step.first_views] == roles[method]
    return [float(loss) for loss in terms]


@pytest.mark.parametrize("method", ["twin", "data2vec"])
@pytest.mark.parametrize("length", [None, 30])
def test_micro_batches_of_asked_views_have_the_losses_of_the_whole_batch(
    method: str, length: int | None
) -> None:
    whole = losses(1, length, method=method)
    assert whole[0] != whole[1]
    torch.testing.assert_close(torch.tensor(losses(2, length, method=method)), torch.tensor(whole))
