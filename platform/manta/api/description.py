"""`manta.describe`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from manta.api.display import as_html, as_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class Description:
    """The settings of a component or of a section of a recipe.

    Attributes:
        kind: objective, encoder, evaluator, schedule, section or view.
        name: as recipes name it.
        facts: what `manta describe --json` prints: what it is, its fields, paper and example.
    """

    kind: str
    name: str
    facts: dict[str, Any] = field(hash=False)

    @property
    def table(self) -> pd.DataFrame:
        """Return a row for each setting, with the dotted key as the index.

        Returns:
            A data frame with the columns `type`, `default`, `range` and `description`.
        """
        import pandas as pd

        frame = pd.DataFrame(self.facts["fields"])
        return frame.set_index("key")[["type", "default", "range", "description"]]

    def __repr__(self) -> str:
        return as_text(f"{self.name}: {self.facts['about']}", self._rows())

    def _repr_html_(self) -> str:
        return as_html(f"{self.name}: {self.facts['about']}", self._source(), [self.table])

    def _rows(self) -> list[tuple[str, Any]]:
        fields = self.facts["fields"]
        return [(row["key"], f"{row['type']} = {row['default']}") for row in fields]

    def _source(self) -> list[tuple[str, Any]]:
        paper = self.facts.get("paper")
        title = None if not paper else f"{paper['title']} ({paper['year']}), {paper['reference']}"
        return [("paper", title), ("example", self.facts["example"])]


def describe(kind: str, name: str) -> Description:
    """Return the settings of a component or section: types, defaults, ranges, and its paper.

    Args:
        kind: objective, encoder, evaluator, schedule, section or view.
        name: as it is written in a recipe; your own components too.

    Raises:
        ConfigError: there is no such kind or name.
    """
    from manta.config import describe as describe_part
    from manta.config import describe_section

    if (kind, name) != ("section", "study"):
        return Description(kind, name, describe_part(kind, name))
    from manta.tuning.study.settings import StudySettings  # search spaces have it, recipes not

    usage = "manta tune SPACE --recipe RECIPE"
    return Description(kind, name, describe_section("study", StudySettings, usage))
