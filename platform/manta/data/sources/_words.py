"""Names that people give to columns, each list with the surest name first."""

from __future__ import annotations

import re
from collections.abc import Iterable


def _list(words: str) -> tuple[str, ...]:
    return tuple(words.split())


IMAGES = _list(
    "image img jpg jpeg png bytes image_bytes data images picture photo webp jpg_png "
    "jpg_png_webp pixel_values img_bytes image_data encoded image_encoded image_raw content b64 "
    "base64 image_base64"
)
PATHS = _list(
    "path image_path img_path file filename file_name filepath file_path image_file image_name "
    "img image image_filename img_name image_id filenames paths files images imagepath name uri "
    "url image_url"
)
LABELS = _list(
    "label labels class target y category fine_label fine_labels classes targets class_label "
    "class_id label_id category_id class_idx class_name label_name category_name classname "
    "class_names cls label_text coarse_label coarse_labels species breed diagnosis dx"
)
TEXTS = _list(
    "text sentence content document review body tweet post comment utterance question query "
    "message sentence_a sentence1 sentence_1 premise text_a text1 sentence_text review_text "
    "clean_text raw_text full_text article abstract summary description passage paragraph context "
    "title headline line string txt sentences texts reviews sms prompt transcript transcription "
    "sentence_b sentence2 sentence_2 hypothesis text_b text2 question1 question2"
)
SPLITS = _list(
    "split subset partition set phase usage data_split dataset_split split_name train_test "
    "train_test_split"
)
TEXT_LABELS = (*LABELS, *_list("intent sentiment polarity topic emotion stars rating genre"))
KEYS = _list("id uuid key md5 sha1 sha256 sha512 hash phash embedding")
"""Names of columns whose bytes are no images."""
NO_LABELS, FOLDERS = "none", "folders"
"""What `data.labels` may say instead of a column."""


def normal(name: str) -> str:
    """Return a column's name as the lists of names write it."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def usual(paths: Iterable[str], names: tuple[str, ...]) -> list[str]:
    """Return the columns whose name is a usual one, in the order of the names.

    Args:
        paths: columns, or fields of structs as `sample.image`, of which the last part counts.
    """
    order = {name: position for position, name in enumerate(names)}
    keyed = {path: normal(path.rsplit(".", 1)[-1]) for path in paths}
    fitting = [path for path, key in keyed.items() if key in order]
    return sorted(fitting, key=lambda path: (order[keyed[path]], path.count(".")))
