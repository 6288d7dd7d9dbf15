"""What evaluators and their numbers are, in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from manta.report.parts import words as words

Better = Literal["higher", "lower", "near 1", ""]
Kind = Literal["fraction", "factor", "plain", "setting"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a number says.

    Attributes:
        short: for the axis of a figure.
        better: which way a better encoder moves it; empty where neither way is better.
        kind: how differences are told: in points of a hundred, as a factor, plainly, or not at all.
        one_of_many: there is one for each layer, corruption or severity.
        health: it needs no labels and says how features lie in their space.
    """

    title: str
    short: str
    note: str
    better: Better
    kind: Kind
    one_of_many: bool = False
    health: bool = False

    @property
    def direction(self) -> str:
        """Which way is better, as a sentence."""
        if self.kind == "setting":
            return "A setting that was chosen, not a score."
        if self.better == "near 1":
            return "Best near 1."
        if not self.better:
            return "Neither way is better by itself." if self.note else ""
        return f"{self.better.capitalize()} is better."


EVALUATORS = {
    "knn": (
        "Nearest neighbours (kNN)",
        "An image is given the class that most of its nearest neighbours have. Nothing is trained, so it shows what "
        "the features hold by themselves.",
    ),
    "linear": ("Linear probe", "A linear classifier learns the classes from frozen features."),
    "linear_sgd": (
        "Linear probe by SGD",
        "The same by the protocol of the literature: SGD with momentum, and the best learning rate of a few.",
    ),
    "fewshot": (
        "Few-shot episodes",
        "Small tasks of a few classes, each with one or a few labelled images. Chance is one in the number of "
        "classes, so these do not compare with the other accuracies.",
    ),
    "finetune": (
        "Fine-tuning with few labels",
        "The whole encoder is trained on with a small part of the labels.",
    ),
    "rank": (
        "Rank and spread",
        "How many directions the features use, and how evenly they fill the sphere.",
    ),
    "alpha_req": (
        "Decay of the spectrum",
        "How fast the variance falls from the first direction to the later ones.",
    ),
    "lidar": ("LiDAR", "How many directions tell images apart in spite of augmentation."),
    "nesum": ("Shared variance", "How many dimensions share the variance of the features."),
    "alignment_uniformity": (
        "Alignment and uniformity",
        "How near augmented views of an image are, and how evenly images cover the sphere. Only the two together say "
        "something: features that collapsed are perfectly aligned.",
    ),
    "clustering": ("Clusters", "Whether groups that are found without labels are the classes."),
    "silhouette": (
        "Clusters after UMAP",
        "How clearly the features fall apart into groups, without labels.",
    ),
    "risk": (
        "Where the probe's errors come from",
        "The error of a linear probe in four parts, which add up to it. A part below 0 is noise between the splits.",
    ),
    "transferability": (
        "Transferability",
        "Whether the labels can be had from the features, without a probe. Only differences on the same data mean "
        "something.",
    ),
    "retrieval": ("Retrieval", "Whether the most similar images are of the same class."),
    "layers": (
        "Layer by layer",
        "What each layer knows of the classes, and how near it is to the last one.",
    ),
    "fungi": (
        "Gradients as features",
        "What the gradients of self-supervised losses add to the features, for nearest neighbours (FUNGI).",
    ),
    "segmentation": (
        "Zero-shot segmentation",
        "Whether what is like the patch that is pointed at is the object.",
    ),
    "corruptions": (
        "Corrupted images",
        "Whether nearest neighbours are still right when images are noisy or blurred.",
    ),
}
"""Name -> title and a sentence."""

OTHER = "other numbers"
_EVALUATOR_OF = {
    "rankme": "rank",
    "feature_std": "rank",
    "alignment": "alignment_uniformity",
    "uniformity": "alignment_uniformity",
    "logme": "transferability",
    "ped": "transferability",
}
_HEADS = {"proto": "nearest prototype", "tuned": "tuned head", "opta": "optimal transport"}
_ALGORITHMS = {"kmeans": "k-means", "ward": "Ward's", "hdbscan": "HDBSCAN"}
_NAMES = _HEADS | _ALGORITHMS | {"jpeg_compression": "JPEG compression"}

# Pattern: title, short title, sentence, which way is better, kind. Groups stand for {0}, {1}.
_F: Kind = "fraction"
_KNOWN: list[tuple[str, str, str, str, Better, Kind]] = [
    (
        r"knn_top1",
        "kNN top-1 accuracy",
        "kNN",
        "Images whose neighbours' vote names the class.",
        "higher",
        _F,
    ),
    (
        r"knn_top5",
        "kNN top-5 accuracy",
        "kNN, top 5",
        "The class is among the five with most votes.",
        "higher",
        _F,
    ),
    (
        r"knn(\d+)_top1",
        "kNN top-1 accuracy, k = {0}",
        "kNN, k = {0}",
        "With k = {0}.",
        "higher",
        _F,
    ),
    (
        r"knn(\d+)_top5",
        "kNN top-5 accuracy, k = {0}",
        "kNN, top 5, k = {0}",
        "With k = {0}.",
        "higher",
        _F,
    ),
    (
        r"linear_top1",
        "Linear probe accuracy",
        "Linear probe",
        "Images that the classifier names right.",
        "higher",
        _F,
    ),
    (
        r"linear_l2",
        "Penalty of the linear probe",
        "",
        "Chosen on rows that are not scored.",
        "",
        "setting",
    ),
    (
        r"linear_sgd_top1",
        "Linear probe (SGD) accuracy",
        "Linear, SGD",
        "Images named right.",
        "higher",
        _F,
    ),
    (
        r"linear_sgd_lr",
        "Learning rate of the probe",
        "",
        "Chosen on rows that are not scored.",
        "",
        "setting",
    ),
    (
        r"fewshot(\d+)_(proto|tuned|opta)",
        "{0}-shot accuracy, {1}",
        "{0}-shot, {1}",
        "Mean over episodes with {0} labelled of each class.",
        "higher",
        _F,
    ),
    (
        r"finetune_([\d.e+-]+)pct_top1",
        "Fine-tuned on {0}% of the labels",
        "Fine-tuned, {0}%",
        "Images that the fine-tuned encoder names right.",
        "higher",
        _F,
    ),
    (
        r"finetune_(\d+)shot_top1",
        "Fine-tuned on {0} of each class",
        "Fine-tuned, {0}-shot",
        "Images that the fine-tuned encoder names right.",
        "higher",
        _F,
    ),
    (
        r"rankme",
        "Effective rank (RankMe)",
        "",
        "How many dimensions the features use; those of random weights fill many too.",
        "higher",
        "factor",
    ),
    (
        r"feature_std",
        "Spread of features",
        "",
        "1 is even over the sphere, 0 is collapsed.",
        "higher",
        "plain",
    ),
    (
        r"alpha_req",
        "Decay of the spectrum (α-ReQ)",
        "",
        "Exponent of the power law of variance.",
        "near 1",
        "plain",
    ),
    (
        r"alpha_req_gap",
        "Distance of the decay from 1",
        "",
        "How far the exponent is from 1.",
        "lower",
        "plain",
    ),
    (
        r"lidar",
        "LiDAR rank",
        "",
        "Directions that tell images apart, views aside.",
        "higher",
        "factor",
    ),
    (
        r"nesum",
        "Shared variance (NESum)",
        "",
        "Dimensions that share the variance.",
        "higher",
        "factor",
    ),
    (
        r"alignment",
        "Alignment",
        "",
        "Distance between views of the same image; 0 is none.",
        "lower",
        "plain",
    ),
    (
        r"uniformity",
        "Uniformity",
        "",
        "How unevenly images cover the sphere; 0 is all alike.",
        "lower",
        "plain",
    ),
    (
        r"silhouette",
        "Silhouette of clusters",
        "",
        "−1 to 1; how clearly groups are apart.",
        "higher",
        "plain",
    ),
    (
        r"clustering_(kmeans|ward|hdbscan)_ami",
        "{0} clusters, mutual information",
        "{0}, AMI",
        "Agreement with the classes, adjusted: 0 is chance, 1 is the classes.",
        "higher",
        "plain",
    ),
    (
        r"clustering_(kmeans|ward|hdbscan)_ari",
        "{0} clusters, Rand index",
        "{0}, ARI",
        "Pairs on which clusters and classes agree, adjusted: 0 is chance, 1 is the classes.",
        "higher",
        "plain",
    ),
    (
        r"clustering_(kmeans|ward|hdbscan)_silhouette",
        "{0} clusters, silhouette",
        "{0}",
        "−1 to 1; how clearly groups are apart.",
        "higher",
        "plain",
    ),
    (
        r"clustering_hdbscan_clusters",
        "Clusters that HDBSCAN found",
        "",
        "Their number.",
        "",
        "plain",
    ),
    (
        r"clustering_hdbscan_noise",
        "Images in none of HDBSCAN's clusters",
        "",
        "Their share.",
        "",
        _F,
    ),
    (
        r"risk_approximation",
        "Approximation",
        "",
        "What the architecture cannot fit; a setting.",
        "lower",
        _F,
    ),
    (
        r"risk_usability",
        "Usability",
        "",
        "Classes that a linear probe cannot tell apart.",
        "lower",
        _F,
    ),
    (r"risk_probe", "Probe", "", "What too few labels cost the probe.", "lower", _F),
    (r"risk_encoder", "Encoder", "", "What rows that pretraining did not see cost.", "lower", _F),
    (r"risk_total", "Total error of the probe", "", "The sum of the four.", "lower", _F),
    (r"logme", "LogME", "", "Evidence for the labels, given the features.", "higher", "plain"),
    (
        r"ped",
        "LogME after PED",
        "",
        "The same after classes that overlap are pushed apart.",
        "higher",
        "plain",
    ),
    (
        r"retrieval_recall(\d+)",
        "Recall at {0}",
        "Recall at {0}",
        "Images with one of their class among the {0} nearest.",
        "higher",
        _F,
    ),
    (
        r"retrieval_map",
        "Mean average precision",
        "mAP",
        "How far up the ranking its class stands.",
        "higher",
        _F,
    ),
    (
        r"layers_best_top1",
        "Best layer's accuracy",
        "Best layer",
        "Of the layer that does best on a part of the bank.",
        "higher",
        _F,
    ),
    (
        r"layers_best_depth",
        "Depth of the best layer",
        "",
        "0 is the first layer, 1 the last.",
        "",
        "plain",
    ),
    (r"layers_(.+)_top1", "{0}, accuracy", "{0}", "A ridge probe of the layer.", "higher", _F),
    (
        r"layers_(.+)_information",
        "{0}, information",
        "{0}",
        "What clusters of the layer say about the classes: 0 nothing, 1 all.",
        "higher",
        "plain",
    ),
    (
        r"layers_(.+)_cca",
        "{0}, likeness to the last layer",
        "{0}",
        "0 unlike, 1 the same.",
        "",
        "plain",
    ),
    (
        r"fungi_top1",
        "kNN accuracy with gradients",
        "kNN, gradients",
        "Features and gradients.",
        "higher",
        _F,
    ),
    (
        r"fungi_plain_top1",
        "kNN accuracy without them",
        "kNN, no gradients",
        "The same rows.",
        "higher",
        _F,
    ),
    (r"fungi_gain", "What gradients add", "", "The difference of the two.", "higher", _F),
    (
        r"segmentation_iou",
        "Intersection over union",
        "",
        "1 where the object is met exactly.",
        "higher",
        _F,
    ),
    (
        r"segmentation_threshold",
        "Threshold of similarity",
        "",
        "Chosen on every other image.",
        "",
        "setting",
    ),
    (r"segmentation_intra", "Likeness within objects", "", "Mean cosine of patches.", "", "plain"),
    (
        r"segmentation_inter",
        "Likeness to what is outside",
        "",
        "Mean cosine of patches.",
        "",
        "plain",
    ),
    (
        r"segmentation_overlap",
        "Overlap of the two",
        "",
        "0 where they are apart, 1 where they are one.",
        "lower",
        "plain",
    ),
    (
        r"corruptions_top1",
        "kNN accuracy, corrupted",
        "kNN, corrupted",
        "Over kinds and severities.",
        "higher",
        _F,
    ),
    (
        r"corruptions_clean_top1",
        "kNN accuracy, clean",
        "kNN, clean",
        "The same rows.",
        "higher",
        _F,
    ),
    (r"corruptions_severity(\d)_top1", "Severity {0}", "{0}", "Mean over the kinds.", "higher", _F),
    (r"corruptions_(.+)_top1", "{0}", "{0}", "Mean over five severities.", "higher", _F),
]
_PATTERNS = [(re.compile(row[0]), row) for row in _KNOWN]
_OF_MANY = re.compile(r"layers_(?!best_).+|corruptions_(?!clean_).+_top1")
_HEALTH = re.compile(
    r"rankme|feature_std|alpha_req|lidar|nesum|alignment|uniformity|silhouette|.*_silhouette"
)


@cache
def meaning(metric: str) -> Meaning:
    """What a metric says; of one that is not known, what its name tells."""
    for pattern, (_, title, short, note, better, kind) in _PATTERNS:
        if (found := pattern.fullmatch(metric)) is not None:
            named = [_NAMES.get(group, group).replace("_", " ") for group in found.groups()]
            full = title.format(*named)
            return Meaning(
                full[:1].upper() + full[1:] if title == "{0}" else full,
                short.format(*named) or full,
                note.format(*named),
                better,
                kind,
                one_of_many=_OF_MANY.fullmatch(metric) is not None,
                health=_HEALTH.fullmatch(metric) is not None,
            )
    title, fraction = words.title(metric), words.is_fraction(metric)
    return Meaning(
        title, title, "", "higher" if fraction else "", "fraction" if fraction else "plain"
    )


def evaluator_of(metric: str) -> str:
    """The evaluator that gives a metric, where the data do not tell."""
    if (known := _EVALUATOR_OF.get(metric)) is not None:
        return known
    named = [name for name in EVALUATORS if re.match(rf"{name}(\d|_|$)", metric)]
    return max(named, key=len) if named else OTHER


def evaluator_title(name: str) -> tuple[str, str]:
    """The title of an evaluator and a sentence on it, which may be empty."""
    return EVALUATORS.get(name, (name.replace("_", " "), ""))
