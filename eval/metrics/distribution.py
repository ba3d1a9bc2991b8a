"""How far two sets of pictures are apart: FID and KID on the features of the Inception network that both were made for.

The features are torch-fidelity's, the reference port of TensorFlow's network (its resizing included). Features are sums
over thousands of pixels, distances are differences of large numbers: from the features on all is float64. FID of a few
pictures is too high (its bias falls with the number of pictures); KID has no bias, and may be slightly below 0.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from eval.metrics.networks import EXTRA, OnDevice, eight_bits
from worldgen.errors import UserError, expect
from worldgen.models.hub import answers, missing_package, package_versions
from worldgen.paths import user_path
from worldgen.runs.disk import sha256_of

# torch-fidelity's name and pytorch-fid's; the digits are the start of the file's sha256, as torch.hub has it.
_FILES = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")
_SHA256_BEGINS = "6726825d"
_ROWS = 1024  # of a kernel matrix at a time


class _Distance(OnDevice, ABC):
    """What both share: where the features come from.

    path: the Inception weights (a .pth file), None = torch.hub's cache. download: whether they may be fetched (96 MB).
    batch: pictures at once. features: another network, uint8 [N, 3, H, W] -> [N, D], instead of Inception.
    """

    name: str
    better = "lower"

    def __init__(
        self,
        path: str | None = None,
        download: bool = False,
        batch: int = 16,
        features: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        expect(f"metric.{self.name}.batch", batch, batch >= 1, "1 or more")
        self.path, self.download, self.batch = path, download, batch
        self._features = features

    @property
    def network(self) -> Hashable:
        """Where the features come from."""
        return self.path, self.device, self._features

    def unavailable(self) -> str | None:
        if self._features is not None:
            return None
        return missing_package("torch-fidelity", extra=EXTRA) or self._file_is_missing()

    def versions(self) -> dict[str, str]:
        if self._features is not None:
            return {"features": getattr(self._features, "__name__", type(self._features).__name__)}
        file = self._file()
        weights = {"inception": f"sha256 {_sha256(file, file.stat().st_mtime_ns)}"} if file is not None else {}
        return package_versions("torch-fidelity") | weights

    @torch.no_grad()
    def features(self, pictures: Sequence[Tensor]) -> Tensor:
        """Pictures [3, H, W] in [0, 1], of any sizes -> [N, D], float64."""
        network = self._features or self._inception()
        batches = _of_one_size([eight_bits(picture) for picture in pictures], self.batch)
        found = [network(torch.stack(batch).to(self.device)).double().cpu() for batch in batches]
        return torch.cat(found) if found else torch.zeros(0, 0, dtype=torch.float64)

    def distance(self, ours: Tensor, truth: Tensor) -> float:
        """Between features [N, D] and [M, D]. Raises UserError where a side has fewer than two pictures."""
        if min(len(ours), len(truth)) < 2:
            raise UserError(f"{self.name}: {len(ours)} pictures against {len(truth)}, wanted at least 2 on each side")
        return float(self._distance(ours.double(), truth.double()))

    @abstractmethod
    def _distance(self, ours: Tensor, truth: Tensor) -> Tensor:
        """Both float64."""

    def _file_is_missing(self) -> str | None:
        if self._file() is not None:
            return None
        by_hand = f"put {_FILES[0]} on this machine and set metric.{self.name}.path=<file>"
        if self.path is not None:
            return f"metric.{self.name}.path: {self.path}: no such file, wanted {_FILES[0]}"
        lacking = "the Inception weights are not in torch.hub's cache"
        if not self.download:
            return f"{lacking}; metric.{self.name}.download=true fetches them (96 MB), or {by_hand}"
        return None if answers("https://github.com") else f"{lacking} and github.com does not answer; {by_hand}"

    def _file(self) -> Path | None:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        wanted = [folder / name for name in _FILES] if self.path is None else [user_path(self.path)]
        return next((file for file in wanted if file.is_file()), None)

    def _inception(self) -> Callable[[Tensor], Tensor]:
        reason = self._file_is_missing()
        if reason is not None:
            raise UserError(reason)
        return _load_inception(self._file() or _fetch_inception(), self.device)


class Fid(_Distance):
    """Heusel et al. 2017: the Fréchet distance between the two Gaussians that fit the features."""

    name = "fid"

    def _distance(self, ours: Tensor, truth: Tensor) -> Tensor:
        """|m - n|^2 + Tr(S + T - 2 (S T)^1/2), without ever forming the D x D covariances S and T.

        With S = A' A, the centred features over sqrt(N - 1), and T = B' B alike, the eigenvalues of S T are the squared
        singular values of A B', so the trace of the root is the sum of those: exact, and stable where N < D.
        """
        means = (ours.mean(0) - truth.mean(0)).square().sum()
        a, b = _root_of_covariance(ours), _root_of_covariance(truth)
        apart = a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum()
        return (means + apart).clamp(min=0)  # equal sets: some 1e-14 to either side


class Kid(_Distance):
    """Binkowski et al. 2018: the squared maximum mean discrepancy under the kernel (x.y / D + 1)^3, unbiased.

    subsets: 0 = over all pictures, which is exact; else the mean over so many random subsets of `subset_size` pictures,
    drawn by `seed`, as in the paper (100 of 1000). The rest as above.
    """

    name = "kid"

    def __init__(
        self,
        subsets: int = 0,
        subset_size: int = 1000,
        seed: int = 0,
        path: str | None = None,
        download: bool = False,
        batch: int = 16,
        features: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(path, download, batch, features)
        expect("metric.kid.subsets", subsets, subsets >= 0, "0 (all pictures at once) or more")
        expect("metric.kid.subset_size", subset_size, subset_size >= 2, "2 or more")
        self.subsets, self.subset_size, self.seed = subsets, subset_size, seed

    def versions(self) -> dict[str, str]:
        drawn = f"{self.subsets} of {self.subset_size}, seed {self.seed}" if self.subsets else "none"
        return super().versions() | {"subsets": drawn}

    def _distance(self, ours: Tensor, truth: Tensor) -> Tensor:
        if not self.subsets:
            return _unbiased_mmd2(ours, truth)
        if min(len(ours), len(truth)) < self.subset_size:
            raise UserError(
                f"kid: {len(ours)} pictures against {len(truth)}, fewer than metric.kid.subset_size="
                f"{self.subset_size}; metric.kid.subsets=0 takes all at once"
            )
        dice = torch.Generator().manual_seed(self.seed)
        values = [
            _unbiased_mmd2(
                *(side[torch.randperm(len(side), generator=dice)[: self.subset_size]] for side in (ours, truth))
            )
            for _ in range(self.subsets)
        ]
        return torch.stack(values).mean()


def _root_of_covariance(features: Tensor) -> Tensor:
    """[N, D] -> A [min(N, D), D] with A' A = the covariance of the features."""
    centred = (features - features.mean(0)) / (len(features) - 1) ** 0.5
    rows, columns = centred.shape
    return torch.linalg.qr(centred, mode="r").R if rows > columns else centred


def _unbiased_mmd2(ours: Tensor, truth: Tensor) -> Tensor:
    """Eq. 4 of Binkowski et al. 2018: the pairs of a picture with itself are left out."""
    n, m = len(ours), len(truth)
    within = (_kernel_sum(ours, ours) - _kernel_of_itself(ours)) / (n * (n - 1))
    within += (_kernel_sum(truth, truth) - _kernel_of_itself(truth)) / (m * (m - 1))
    return within - 2 * _kernel_sum(ours, truth) / (n * m)


def _kernel_sum(x: Tensor, y: Tensor) -> Tensor:
    """Over all pairs of rows of [N, D] and [M, D]."""
    return torch.stack([(rows @ y.T / x.shape[1] + 1).pow(3).sum() for rows in x.split(_ROWS)]).sum()


def _kernel_of_itself(x: Tensor) -> Tensor:
    return (x.square().sum(1) / x.shape[1] + 1).pow(3).sum()


def _of_one_size(pictures: Sequence[Tensor], most: int) -> list[list[Tensor]]:
    """In order; a new batch wherever the size changes."""
    batches: list[list[Tensor]] = []
    for picture in pictures:
        if not batches or len(batches[-1]) == most or batches[-1][0].shape != picture.shape:
            batches.append([])
        batches[-1].append(picture)
    return batches


@lru_cache
def _sha256(file: Path, changed: int) -> str:
    del changed
    return sha256_of(file)


def _fetch_inception() -> Path:
    """Into torch.hub's cache, where torchmetrics and torch-fidelity look too."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    path = Path(torch.hub.get_dir()) / "checkpoints" / _FILES[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix=_SHA256_BEGINS, progress=False)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path.name} cannot be fetched: {error}") from error
    return path


@lru_cache(maxsize=1)
def _load_inception(file: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """uint8 [N, 3, H, W] -> the 2048 numbers before the classes. Raises UserError for another file."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        # torch-fidelity loads it again, in a way that runs whatever code a file brings: first make sure it brings none.
        torch.load(file, map_location="cpu", weights_only=True)
        network: nn.Module = FeatureExtractorInceptionV3("inception", ["2048"], str(file))
    except Exception as error:  # pickle, zip, missing keys: a wrong file shows itself in many ways
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{file}: cannot be read as Inception weights ({reason}), wanted {_FILES[0]}") from error
    network = network.to(device).eval()
    return lambda pictures: network(pictures)[0]
