"""evaluation.html, the page of an encoder's evaluation.

It is one self-contained file that can be read offline and on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manta.evaluators import describe_evaluator
from manta.files import Place
from manta.modalities import Noun, is_captioned, noun_of
from manta.report.evaluation import numbers as words_of
from manta.report.evaluation import samples as images_of
from manta.report.evaluation.figures import figures
from manta.report.parts.charts import plot_script, plotly_library
from manta.report.parts.floor import floor_words
from manta.report.parts.template import render
from manta.secrets import without_secrets


def write_evaluation(found: Mapping[str, Any], page: Path) -> Path:
    """Write the page of one evaluation to `page`, and return `page`.

    Its folder is made where there is none.

    Args:
        found: the evaluation. Everything but `metrics` may be missing, and that may be empty.
            modality: of the data; images where it is missing;
            name, data, digest, bank_rows, query_rows, labelled, note, date: what was measured, on
            what;
            metrics: name -> number, NaN or None where it could not be had; `random_<name>` is the
                untrained encoder's, and `floor_<name>` of features that nothing has learned;
            floor: what those features are;
            intervals: name -> the ends of its 95% interval;
            evaluators: name -> settings and the names of its metrics; layers stand in the order of
                `metrics`;
            skipped: evaluator -> why it gave nothing;
            model, versions: name -> value;
            samples: thumbnails `[S, h, w, 3]` uint8, features `[S, D]`, and labels, classes,
                predictions or None.
    """
    Place.of(page).write(render("evaluation.html", _context(found)).encode())
    return page


def _floor(found: Mapping[str, Any], noun: Noun) -> dict[str, str] | None:
    """Return what the page says of the floor; None where there is none."""
    metrics = {
        str(name): value
        for name, value in (found.get("metrics") or {}).items()
        if isinstance(value, int | float)
    }
    return floor_words(metrics, str(found.get("floor") or ""), noun)


def _context(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template takes."""
    noun = noun_of(found.get("modality"))
    known = words_of.numbers(found)
    settings = {
        name: one.get("settings") or {} for name, one in (found.get("evaluators") or {}).items()
    }
    bank_rows = found.get("bank_rows")
    drawn = figures(known, settings, bank_rows if isinstance(bank_rows, int) else None, noun)
    pictures = images_of.pictures(found.get("samples"), as_text=is_captioned(found.get("modality")))
    note = without_secrets(str(found.get("note") or "")).strip()
    context = {
        "name": without_secrets(str(found.get("name") or "An encoder")),
        "note": note[:1].upper() + note[1:] + ("." if note and note[-1] not in ".!?" else ""),
        "labelled": found.get("labelled", True),
        "paired": any(number.untrained is not None for number in known.values()),
        "floor": _floor(found, noun),
        "headline": words_of.headline(known),
        "noun": noun,
        "facts": words_of.facts(found),
        "charts": drawn,
        "plots": plot_script(drawn),
        "health": words_of.health(known),
        "groups": words_of.groups(found, known),
        "skipped": {
            describe_evaluator(str(k))[0]: str(v) for k, v in (found.get("skipped") or {}).items()
        },
        "map": images_of.chart(pictures, noun) if pictures else None,
        "neighbours": images_of.neighbours(pictures, noun) if pictures else None,
        "mistakes": images_of.mistakes(pictures) if pictures else None,
        "plotly": plotly_library() if drawn else "",
    }
    return context | {"sounds": pictures.looks.played if pictures else {}}
