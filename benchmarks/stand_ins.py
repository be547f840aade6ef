"""Stand-ins for the eight networks of Pi et al. 2023, whose trained weights cannot be had.

Their bodies hold random weights, with residual branches that add little (`damp`) and normalisations
measured on whole knees at the size that the network sees; only their heads are fitted. Random
features do not tell a Kellgren-Lawrence grade, but coarse properties of a picture, so the heads are
fitted to one of these: the direction in which thumbnails of knees differ most. Knees in its order
are given the logits of a real network, which knees that it never saw had in the order of their
grade (``results/oof``). So a stand-in reads something that is there, and is as decided between the
two likeliest grades as a real network is, or nearly.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from PIL import Image
from torch import Tensor, nn
from torchvision.models.regnet import ResBottleneckBlock
from torchvision.models.resnet import Bottleneck

from kellgren.atomic_files import replaced_whole
from kellgren.data.manifest import Knee
from kellgren.grades import Grade
from kellgren.grading.bundle import Bundle, default_bundle, open_bundle, write_bundle
from kellgren.grading.card import FORMAT, Card, MemberCard, TrainingData
from kellgren.grading.combiner import Combiner
from kellgren.grading.preprocess import Preprocess
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee
from kellgren.model_files.onnx_session import onnx_session
from kellgren.training.architectures import Member
from kellgren.training.architectures.registry import find
from kellgren.training.export.int8_arithmetic import Quantiser
from kellgren.training.export.onnx_export import export

EIGHT = (
    *("shufflenet_v2_x2_0", "efficientnet_v2_s", "resnext50_32x4d", "regnet_y_8gf"),
    *("resnet101", "wide_resnet50_2", "efficientnet_b5", "densenet161"),
)
"""The smallest first."""
TRAINED = ("trained inception_v3_mixed7a", "trained efficientnet_lite2")
"""Members of the package's own bundle by their architecture, beside the stand-ins."""
OUT_OF_FOLD = Path(__file__).resolve().parents[1] / "results" / "oof"
REAL = "inception-288"
DAMPED = 0.1
THUMBNAIL = 24  # pixels
MEASURED = 16  # knees that normalisations are measured on
CALIBRATED = 8  # knees that ranges of int8 are taken from, both looks
RIDGES = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3)


def make(name: str, knees: Sequence[Knee], folder: Path) -> None:
    """Lay down a network for torch, as a member, and as a member in int8, if it is not there.

    The folder then holds ``NAME.pt``, ``NAME.onnx``, ``NAME.int8.onnx`` and ``NAME.head.npz``; the
    head is still nothing.
    """
    if (folder / f"{name}.int8.onnx").exists():
        return
    if name in TRAINED:
        lay_down_trained(name, knees, folder)
        return
    torch.manual_seed(0)
    network = find(name).build(len(Grade)).eval()
    damp(network)
    measure_normalisations(network, inputs(name, knees[:MEASURED]))
    nn.init.zeros_(network.head.weight)
    nn.init.zeros_(network.head.bias)
    export(network, sees(name).size, folder / f"{name}.onnx")
    save_head(name, network.head, folder)
    torch.save(network, folder / f"{name}.pt")
    save_int8(name, onnx.load(folder / f"{name}.onnx"), knees, folder)


def fit(name: str, knees: Sequence[Knee], folder: Path) -> None:
    """Give a network that was laid down its head, in each of its files, if it has none."""
    if name in TRAINED or (folder / f"{name}.fitted").exists():
        return
    network = torch.load(folder / f"{name}.pt", weights_only=False)
    means = pooled(folder / f"{name}.onnx", name, knees)
    kept = fit_head(network.head, means, wanted_logits(knees))
    for file in (f"{name}.onnx", f"{name}.int8.onnx"):
        model = onnx.load(folder / file)
        for stored in model.graph.initializer:
            if stored.name.startswith("head."):
                part = getattr(network.head, stored.name.removeprefix("head."))
                stored.CopyFrom(numpy_helper.from_array(part.detach().numpy(), stored.name))
        onnx.save_model(model, folder / file)
    save_head(name, network.head, folder)
    torch.save(network, folder / f"{name}.pt")
    told = f"{kept:.0%} of the logits' variance read from knees left out one by one"
    (folder / f"{name}.fitted").write_text(told, "utf-8")
    print(f"{name}: {told}", flush=True)


def save_head(name: str, head: nn.Linear, folder: Path) -> None:
    """The head alone, as a bundle holds it."""
    parts = {part: value.detach().numpy() for part, value in head.named_parameters()}
    np.savez(folder / f"{name}.head.npz", **parts)


def lay_down_trained(name: str, knees: Sequence[Knee], folder: Path) -> None:
    """The same files, but the one for torch, of a member of the package's own bundle."""
    bundle = open_bundle(default_bundle())
    member = trained_member(bundle, name)
    model = onnx.load_model_from_string(bundle.read(member.model))
    (folder / f"{name}.head.npz").write_bytes(bundle.read(member.head))
    onnx.save_model(model, folder / f"{name}.onnx")
    save_int8(name, model, knees, folder)


def trained_member(bundle: Bundle, name: str) -> MemberCard:
    """The card of the member that is meant."""
    wanted = name.removeprefix("trained ")
    (card,) = (card for card in bundle.card.members if card.architecture == wanted)
    return card


def save_int8(name: str, model: onnx.ModelProto, knees: Sequence[Knee], folder: Path) -> None:
    """The same member with its convolutions in int8."""
    ranges = both_looks(inputs(name, knees[-CALIBRATED:])).numpy()
    with replaced_whole(folder / f"{name}.int8.onnx") as draft:
        onnx.save_model(Quantiser(model, ranges, compensated=False).quantised(), draft)


def wanted_logits(knees: Sequence[Knee]) -> np.ndarray:
    """(N, 5): a real network's, of the same rank by grade as the knee's by its thumbnail."""
    small = np.stack([grey(knee, THUMBNAIL).ravel() for knee in knees]).astype(np.float64)
    small = (small + np.stack([grey(k, THUMBNAIL)[:, ::-1].ravel() for k in knees])) / 2
    _, _, directions = np.linalg.svd(small - small.mean(0), full_matrices=False)
    order = (small @ directions[0]).argsort()
    real = out_of_fold(REAL)
    real = real[(real @ np.arange(5)).argsort()]
    logits = np.log(real[((np.arange(len(knees)) + 0.5) / len(knees) * len(real)).astype(int)])
    wanted = np.empty_like(logits)
    wanted[order] = logits - logits.mean(1, keepdims=True)
    return wanted


def out_of_fold(table: str) -> np.ndarray:
    """(N, 5) what a real network says of knees that it never saw."""
    with gzip.open(OUT_OF_FOLD / f"{table}.csv.gz", "rt", encoding="utf-8") as stream:
        rows = [[float(row[f"p{grade}"]) for grade in range(5)] for row in csv.DictReader(stream)]
    return np.maximum(np.asarray(rows), 1e-6)


def damp(network: Member) -> None:
    """Let each residual branch add little to what goes past it, as trained ones do.

    Undamped, each layer of a deep random network makes the rounding of those before it larger.
    """
    for block in network.modules():
        if isinstance(block, Bottleneck):
            nn.init.constant_(block.bn3.weight, DAMPED)
        elif (
            isinstance(block, ResBottleneckBlock)
            or getattr(block, "use_res_connect", False)  # torchvision's EfficientNets
            or getattr(block, "has_skip", False)  # timm's
        ):
            ends = [layer for layer in block.modules() if isinstance(layer, nn.BatchNorm2d)]
            nn.init.constant_(ends[-1].weight, DAMPED)


def measure_normalisations(network: Member, images: Tensor) -> None:
    """Give normalisations the statistics of whole knees at the size that the network sees."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over all batches
        layer.train()
    with torch.no_grad():
        for start in range(0, len(images), 8):
            network.features(images[start : start + 8])
    network.eval()


def pooled(model: Path, name: str, knees: Sequence[Knee]) -> np.ndarray:
    """(N, C): the mean of each feature of each knee."""
    session = onnx_session(model.read_bytes(), threads=1)
    means = []
    for knee in knees:
        (features,) = session.run(["features"], {"image": inputs(name, [knee]).numpy()})
        means.append(features[0].mean((1, 2)))
    return np.stack(means)


def fit_head(head: nn.Linear, means: np.ndarray, logits: np.ndarray) -> float:
    """Fit a linear layer to logits by ridge regression; the share of their variance it keeps.

    Features count as they vary, so that the head rests on what differs most. The ridge is the one
    that tells best the logits of knees left out one at a time, and the share is that of those.
    """
    middle = means.mean(0)
    scale = float(np.sqrt(((means - middle) ** 2).sum() / len(means)))
    seen = (means - middle).astype(np.float64) / scale
    level = logits.mean(0)
    wanted = logits - level
    values, vectors = np.linalg.eigh(seen @ seen.T / len(seen))
    best = (-np.inf, RIDGES[0])
    for ridge in RIDGES:
        hat = (vectors * (values / (values + ridge))) @ vectors.T
        left_out = (wanted - hat @ wanted) / (1 - np.diag(hat)[:, None] - 1 / len(seen))
        best = max(best, (1 - float((left_out**2).sum() / (wanted**2).sum()), ridge))
    kept, ridge = best
    inverse = (vectors / (values + ridge)) @ vectors.T / len(seen)
    weight = (seen.T @ inverse @ wanted).T / scale
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(level - weight @ middle))
    return kept


def sees(name: str) -> Preprocess:
    """What a network is given: no mirroring of left knees, no levelling, as in the paper."""
    if name in TRAINED:
        return trained_member(open_bundle(default_bundle()), name).preprocess
    known = find(name)
    return Preprocess(size=known.input_size, mean=known.mean, std=known.std, mirror_left=False)


def inputs(name: str, knees: Sequence[Knee]) -> Tensor:
    """(N, 3, S, S) of whole knees, resized as a bundle resizes them."""
    preprocess = sees(name)
    crops = [whole_knee(read_radiograph(knee.image), knee.side) for knee in knees]
    planes = np.stack([preprocess.plane(crop) for crop in crops])
    return torch.from_numpy(preprocess.normalise(planes)).float()


def grey(knee: Knee, size: int) -> np.ndarray:
    """(size, size) uint8."""
    with Image.open(knee.image) as picture:
        return np.asarray(picture.convert("L").resize((size, size), Image.Resampling.BICUBIC))


def both_looks(images: Tensor) -> Tensor:
    """(2 N, 3, S, S): each image and its mirror image."""
    return torch.stack([images, images.flip(3)], dim=1).flatten(0, 1)


def bundle(models: dict[str, Path], folder: Path, name: str) -> Path:
    """A bundle of networks that vote alike, from their ONNX files, beside which their heads lie."""
    data = TrainingData(
        **dict.fromkeys(("name", "licence", "credit", "folds_hash"), "stand-ins"),
        **dict.fromkeys(("knees", "patients", "folds"), 0),
    )
    members = [
        MemberCard(
            **dict.fromkeys(("name", "backbone", "architecture"), member),
            model=f"{member}.onnx",
            head=f"{member}.head.npz",
            preprocess=sees(member),
            recipe={},
            recipe_hash="0",
            started_from="chance",
            trained_folds=(),
        )
        for member in models
    ]
    card = Card(
        format=FORMAT,
        name=name,
        version="0",
        grades=tuple(grade.label for grade in Grade),
        scale="none",
        members=tuple(members),
        combiner=Combiner(members=tuple(models), weights=(1 / len(models),) * len(models)),
        data=data,
        out_of_fold={},
        versions={},
        files={},
        intended_use="timing only",
    )
    files = {f"{member}.onnx": path for member, path in models.items()}
    files |= {f"{m}.head.npz": path.parent / f"{m}.head.npz" for m, path in models.items()}
    write_bundle(card, files, folder)
    return folder
