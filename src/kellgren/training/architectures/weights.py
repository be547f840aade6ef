"""ImageNet weights: from a local safetensors file, or from the network's publisher.

A local file is never unpickled: only safetensors are read. A publisher's download comes over HTTPS
with the hash that its name promises, and is read with ``weights_only=True``.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.hub import load_state_dict_from_url
from torchvision.models import get_model_weights

from kellgren.errors import WeightsUnavailable
from kellgren.training.architectures.member import Member
from kellgren.training.architectures.packed import rounding_words

Weights = Mapping[str, Tensor]
Adapt = Callable[[Weights], Weights]
Download = Callable[[], tuple[str, Weights]]  # -> what was fetched, and its tensors

_NETWORK_TIMEOUT_S = 20.0
_REMEDY = "Pass --weights-dir, a folder with {pattern}, or set pretrained = false in the recipe."


@dataclass(frozen=True)
class WeightSource:
    """Where the ImageNet weights of one network are found, and how their keys become ours.

    Args:
        network: name used in messages.
        pattern: glob of the local file, for example ``resnet101*.safetensors``.
        download: fetches the publisher's weights; None where nobody offers them for download.
        containers: modules of the publisher that hold stages which are direct parts of our stem
            or body, for example ``features``: the prefix is dropped from the keys.
        adapt: makes our keys and shapes of the publisher's, where that takes more; comes first,
            and leaves out what it cannot make, for that is missed by name then.
        credit: whose network it is, and its licence; for a file that does not say so itself.
        learnt_from: the pictures that the weights were trained on.
    """

    network: str
    pattern: str
    download: Download | None = None
    containers: tuple[str, ...] = ()
    adapt: Adapt = dict
    credit: str = ""
    learnt_from: str = "ImageNet"

    def __call__(self, member: Member, weights_dir: Path | None) -> str:
        """Load the weights into stem and body; the head stays as it is.

        Args:
            member: takes the weights.
            weights_dir: where a file is looked for first; a folder without one leaves the
                download. ``None``: the download alone.

        Returns:
            One line that states which weights these are, for the model card.

        Raises:
            WeightsUnavailable: not found, not downloaded, damaged, or of another network.
        """
        path = self._local_file(weights_dir)
        if path is None:
            origin, weights = self._fetch()
            origin += self._reason_for_download(weights_dir)
        else:
            origin, weights = self._read(path)
        renamed = {self._our_key(key): tensor for key, tensor in self.adapt(weights).items()}
        self._check(member, renamed, origin)
        origin += rounding_words(renamed)
        for part in (member.stem, member.body):
            part.load_state_dict({key: renamed[key] for key in _loadable(part)}, strict=False)
        return f"{self.learnt_from} weights from {origin}"

    def available(self, weights_dir: Path | None) -> str:
        """Where the weights would come from; nothing is downloaded, and no tensor is read.

        Returns:
            The file's name with its credit, or what would be downloaded.

        Raises:
            WeightsUnavailable: there is no such file, it is no safetensors file, or nobody offers
                the weights for download.
        """
        path = self._local_file(weights_dir)
        if path is not None:
            return self._described(path)
        if self.download is None:
            raise self._unavailable(self.network, "has no weights that can be downloaded")
        reason = self._reason_for_download(weights_dir)
        return f"download: {self.download.__doc__ or self.network}{reason}"

    def _fetch(self) -> tuple[str, Weights]:
        if self.download is None:
            raise self._unavailable(self.network, "has no weights that can be downloaded")
        try:
            with _network_timeout():
                origin, weights = self.download()
            return self._credited(origin, self.credit), weights
        except Exception as error:  # publishers' clients raise errors of many libraries
            raise self._unavailable(
                self.network, f"its {self.learnt_from} weights could not be downloaded ({error})"
            ) from error

    def _read(self, path: Path) -> tuple[str, Weights]:
        described = self._described(path)
        try:
            with safe_open(path, framework="pt") as file:
                weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise self._unavailable(path, f"cannot be read as safetensors ({error})") from error
        return described, weights

    def _local_file(self, folder: Path | None) -> Path | None:
        """The one file of that pattern; ``None``: there is none, and a download is offered.

        A folder that does not exist is a typing error, never a reason to download.
        """
        if folder is None:
            return None
        if not folder.is_dir():
            raise self._unavailable(folder, "is no folder")
        matches = sorted(folder.glob(self.pattern))
        if not matches and self.download is not None:
            return None
        if len(matches) != 1:
            problem = f"{len(matches) or 'no'} files match {self.pattern}, expected one"
            raise self._unavailable(folder, problem)
        return matches[0]

    def _reason_for_download(self, folder: Path | None) -> str:
        return "" if folder is None else f", because {folder.name} has no {self.pattern}"

    def _described(self, path: Path) -> str:
        """A file's name with its source and licence, where its header states them."""
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
        except (OSError, SafetensorError) as error:
            raise self._unavailable(path, f"cannot be read as safetensors ({error})") from error
        credit = "; ".join(about[key] for key in ("source", "licence") if key in about)
        return self._credited(path.name, credit or self.credit)

    def _credited(self, origin: str, credit: str) -> str:
        return f"{origin} ({credit})" if credit else origin

    def _our_key(self, key: str) -> str:
        container, _, rest = key.partition(".")
        return rest if container in self.containers else key

    def _check(self, member: Member, weights: Weights, origin: str) -> None:
        wanted = {**_loadable(member.stem), **_loadable(member.body)}
        missing = [key for key in wanted if key not in weights]
        if missing:
            raise self._unavailable(origin, f"lacks {_listed(missing)} of {self.network}")
        odd = [key for key in wanted if weights[key].shape != wanted[key].shape]
        if odd:
            problem = f"has other shapes than {self.network} in {_listed(odd)}"
            raise self._unavailable(origin, problem)

    def _unavailable(self, subject: Path | str, problem: str) -> WeightsUnavailable:
        return WeightsUnavailable(subject, problem, _REMEDY.format(pattern=self.pattern))


def from_torchvision(network: str) -> Download:
    """A download of torchvision's best weights of a network of that name."""

    def download() -> tuple[str, Weights]:
        best = get_model_weights(network)["DEFAULT"]
        weights = {_modern_key(key): tensor for key, tensor in _downloaded(best.url).items()}
        return f"torchvision {best}", weights

    download.__doc__ = f"torchvision {network}"  # what `WeightSource.available` says
    return download


def from_timm(network: str, sha256: str = "") -> Download:
    """A download of timm's weights of that network and tag, such as ``tf_efficientnet_b4.in1k``.

    They come from timm's releases, whose file names carry a hash, or from the network's authors.
    Asking the model hub instead takes nearly a minute to fail off line, and may end in an
    unchecked pickle.

    Args:
        network: and its tag.
        sha256: of the file, where its name does not carry it.
    """

    def download() -> tuple[str, Weights]:
        import timm

        published = timm.get_pretrained_cfg(network)
        if published is None or not isinstance(published.url, str):
            raise LookupError(f"timm lists no release of {network}")
        return f"timm {network}", _downloaded(published.url, sha256)

    download.__doc__ = f"timm {network}"
    return download


def _downloaded(url: str, sha256: str = "") -> Weights:
    """The tensors at an address whose file name ends in the start of the file's hash, or of one
    with a known hash, which its name then carries in the cache.
    """
    stem, _, ending = url.rpartition("/")[2].rpartition(".")
    weights: Weights = load_state_dict_from_url(
        url,
        map_location="cpu",
        progress=False,
        check_hash=True,
        file_name=f"{stem}-{sha256[:16]}.{ending}" if sha256 else None,
        weights_only=True,
    )
    return weights


def _modern_key(key: str) -> str:
    """Files of 2017 say ``norm.1`` where torchvision's dense layers now say ``norm1``."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", key)


def _loadable(part: nn.Module) -> dict[str, Tensor]:
    """The tensors that a weight file must hold: all but the counters of batches seen."""
    state = part.state_dict()
    return {key: state[key] for key in state if not key.endswith(".num_batches_tracked")}


def _listed(keys: list[str], shown: int = 3) -> str:
    rest = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return ", ".join(keys[:shown]) + rest


@contextmanager
def _network_timeout() -> Iterator[None]:
    """The publishers' clients set no timeout of their own: an unplugged network would hang."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NETWORK_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
