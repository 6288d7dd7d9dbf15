"""Exported encoders of sentences: saved, as graphs, and as models that MLflow calls."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
import torch

from manta import encoders
from manta.encoders import EncoderConfig
from manta.leaves import Packed
from manta.modalities import BadSample
from manta.modalities.text import Text, TextConfig
from manta.modalities.text.learning import VocabularyLearner, vocabulary_at
from manta.modalities.text.views import TextViewsConfig
from manta.ragged import Ragged
from manta.serving import ExportedEncoder, load_exported, save_encoder
from manta.serving.formats import Format, export_model
from manta.tracking.registry import _save

ROWS = [b"What is the capital of France ?", b"It rains.", b"a much longer row " * 9]
SENTENCES = [row.decode() for row in ROWS]
CONFIG = EncoderConfig(name="transformer", args={"dim": 16, "depth": 1, "heads": 2})


def modality() -> Text:
    return Text(TextConfig(source="x", tokens=12), VocabularyLearner(300, 9, True)(ROWS))


def saved(folder: Path) -> ExportedEncoder:
    torch.manual_seed(0)
    text = modality()
    one = ExportedEncoder(encoders.build(CONFIG, text.spec), text.preprocess(TextViewsConfig()))
    save_encoder(one, folder, config=CONFIG)
    return one


def decoded() -> dict[str, Any]:
    decoder = modality().decoder()
    rows = [torch.from_numpy(decoder(row, None)["text"]) for row in ROWS]
    return {"text": Ragged(torch.cat(rows), torch.tensor([len(row) for row in rows]))}


def test_sentences_numbers_and_decoded_rows_give_the_same_features(tmp_path: Path) -> None:
    one = saved(tmp_path)
    again = load_exported(tmp_path)
    by_rows = one.encoder(one.preprocess.ready(decoded()))
    by_text = again(cast(Any, SENTENCES))
    torch.testing.assert_close(by_text, by_rows)
    numbers = cast(Any, again.preprocess).numbers(SENTENCES)
    padded = torch.nn.functional.pad(numbers, (0, 5), value=0)  # the vocabulary's own padding
    torch.testing.assert_close(again(padded), by_rows)
    assert again.preprocess.describe() == one.preprocess.describe()
    assert again.preprocess.spec == modality().spec
    assert vocabulary_at(str(tmp_path)) == modality().vocabulary
    json.dumps(one.preprocess.describe())


def test_a_decoder_of_a_saved_encoder_draws_nothing(tmp_path: Path) -> None:
    saved(tmp_path)
    decoder = load_exported(tmp_path).preprocess.decoder()
    assert decoder.draws is False
    assert (
        decoder(ROWS[2], None)["text"].tolist()
        == decoded()["text"].rows(slice(2, 3)).values.tolist()
    )


def test_sentences_are_refused_where_nothing_is_to_be_read(tmp_path: Path) -> None:
    one = saved(tmp_path)
    with pytest.raises(BadSample, match="has no text"):
        one(cast(Any, ["ok", "  "]))
    with pytest.raises(BadSample, match="not UTF-8"):
        one(cast(Any, ["half \ud83d of a pair"]))
    with pytest.raises(TypeError, match="give a list"):
        one(cast(Any, "one sentence"))


@pytest.mark.parametrize("format", ["pt2", "onnx"])
def test_graphs_take_numbers_of_any_length(format: Format, tmp_path: Path) -> None:
    one = saved(tmp_path / "encoder")
    out = tmp_path / "exports" / f"encoder.{format}"
    assert export_model(tmp_path / "encoder", format, out).error < 1e-4
    beside = {path.name for path in out.parent.iterdir()} - {out.name}
    assert beside == {"encoder.tokenizer.json", "encoder.tokens.txt"}
    assert vocabulary_at(str(out.with_name("encoder.tokenizer.json"))) == modality().vocabulary
    numbers = cast(Any, one.preprocess).numbers(SENTENCES)
    if format == "pt2":
        features = torch.export.load(out).module()(numbers)
    else:
        session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
        features = torch.from_numpy(session.run(None, {"ids": numbers.numpy()})[0])
    torch.testing.assert_close(features, one(numbers), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of MLflow's own type hints
def test_a_registered_model_takes_sentences(tmp_path: Path) -> None:
    import mlflow.pyfunc

    one = saved(tmp_path / "encoder")
    logged: Any = SimpleNamespace(artifact_location="x", model_id="m-1")
    _save(one, tmp_path / "model", logged=logged, run_id="r")
    code = (tmp_path / "model" / "code" / "sentence_reader.py").read_text()
    assert "import manta" not in code
    assert "from manta" not in code
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    with torch.no_grad():
        wanted = one(cast(Any, SENTENCES)).numpy()
    for given in (SENTENCES, np.array(SENTENCES)):
        np.testing.assert_allclose(model.predict(given), wanted, rtol=1e-4, atol=1e-5)
    requirements = (tmp_path / "model" / "requirements.txt").read_text()
    assert "tokenizers==" in requirements


def test_rows_of_a_page_are_pictures() -> None:
    columns = decoded()["text"]
    packed = Packed(columns.values.numpy(), columns.lengths.numpy())
    picture = modality().picture({"text": packed[0:1]})
    assert picture.caption
    assert SENTENCES[0].lower().startswith(picture.caption)
