r"""Train a campaign on a machine borrowed for minutes, through a narrow door.

For a machine that reaches no network, takes so many megabytes at a time, and gives back a few files
of so many megabytes. docs/how-to/train-on-a-borrowed-machine.md goes through it.

Here, everything the other machine needs, in loads of at most so many megabytes::

    python scripts/borrowed_gpu.py prepare default --data kneeKL299 -o loads \
        --weights weights/*.safetensors

There, once for each load, in any order; then as often as there is time, going on where it stopped::

    python loads/load-01/borrowed_gpu.py receive loads/load-01 --work work
    python work/received/borrowed_gpu.py train --work work --results results --max-minutes 8

Here, with what came back::

    kellgren train merge results --out campaign

`prepare` needs kellgren with its training extra; `receive` and `train` bring it along, but for the
libraries it needs: they are there, or come as wheels (`--wheels`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import distribution
from pathlib import Path
from typing import IO, Any

SCRIPT, SOURCE, ORDER = "borrowed_gpu.py", "source.zip", "order.json"
RECEIVED, CAMPAIGN, SENT = "received", "campaign", "sent"
MEGABYTE = 1_000_000


# --- here ----------------------------------------------------------------------------------------


def prepare(options: argparse.Namespace) -> int:
    """Write the loads."""
    from kellgren.errors import KellgrenError

    try:
        return _write_loads(options)
    except KellgrenError as error:
        return _complain(str(error))


def _write_loads(options: argparse.Namespace) -> int:
    from kellgren.training.campaign import finished_jobs, read_campaign

    read_campaign(options.campaign)  # a fault in it is found here, where time costs nothing
    out: Path = options.output
    if out.exists() and any(out.iterdir()):
        return _complain(f"{out} is not empty: name a new or empty folder")
    piece_bytes = int(options.piece_mb * MEGABYTE)
    if piece_bytes > options.load_mb * MEGABYTE:
        return _complain("a piece must not be larger than a load")
    with tempfile.TemporaryDirectory() as scratch:
        plain, packs = Path(scratch) / "plain", Path(scratch) / "packs"
        plain.mkdir()
        order = {
            "campaign": _copy_campaign(options.campaign, plain),
            "data": _pack_data(options.data, packs / "data", piece_bytes),
            "weights": _pack_files("weights", options.weights, packs / "weights", piece_bytes),
            "wheels": _pack_files("wheels", options.wheels, packs / "wheels", piece_bytes),
            "finished": [job.name for job in finished_jobs(options.finished)]
            if options.finished
            else [],
        }
        _zip_source(plain / SOURCE)
        sent = sorted([*plain.iterdir(), *(p for p in packs.rglob("*") if p.is_file())])
        order["files"] = {path.name: _sha256(path) for path in sent}
        (plain / ORDER).write_text(json.dumps(order))
        first = [plain / ORDER, *(path for path in sent if path.parent == plain)]
        loads = _loads([*first, *(p for p in sent if p.parent != plain)], options.load_mb)
        for number, load in enumerate(loads, start=1):
            folder = out / f"load-{number:02}"
            folder.mkdir(parents=True)
            for path in (Path(__file__), *load):
                shutil.copyfile(path, folder / path.name)
            size = sum(path.stat().st_size for path in folder.iterdir()) / MEGABYTE
            print(f"{folder}: {len(load) + 1} files, {size:.1f} MB")
    return 0


def _loads(files: Iterable[Path], load_mb: float) -> Iterator[list[Path]]:
    """The files in order, cut where a load is full; each load has room for this script."""
    most = load_mb * MEGABYTE - Path(__file__).stat().st_size
    load: list[Path] = []
    for path in files:
        if path.stat().st_size > most:
            raise SystemExit(_complain(f"{path.name} is larger than a load: raise --load-mb"))
        if load and sum(p.stat().st_size for p in [*load, path]) > most:
            yield load
            load = []
        load.append(path)
    yield load


def _copy_campaign(campaign: str, folder: Path) -> str:
    """Copy the campaign's file and the recipes beside it; its name there."""
    path = Path(campaign)
    if not path.is_file():
        return campaign  # shipped with the package
    for member in tomllib.loads(path.read_text("utf-8")).get("members", []):
        beside = path.parent / member["recipe"]
        if beside.is_file():
            shutil.copyfile(beside, folder / beside.name)
    shutil.copyfile(path, folder / path.name)
    return path.name


def _pack_data(data: Path, out: Path, piece_bytes: int) -> str:
    """Pack the knees one may train on; where they will lie below the folder of data."""
    from kellgren.data.pack import pack_knees

    pack_knees(data, out, piece_bytes, training_only=True)
    folder = data.resolve()
    return f"knees/{folder.name}" if data.is_file() else folder.name


def _pack_files(name: str, paths: Sequence[Path], out: Path, piece_bytes: int) -> bool:
    from kellgren.archives import describe, write_pack

    if paths:
        files = [(describe(path.name, path), path) for path in paths]
        write_pack("files", name, files, out, piece_bytes)
    return bool(paths)


def _zip_source(target: Path) -> None:
    """The package that runs here, without the shipped models: training needs none."""
    import kellgren

    package = Path(kellgren.__file__).parent
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(package.rglob("*")):
            inside = path.relative_to(package)
            if path.is_file() and not {"__pycache__", "models"} & set(inside.parts):
                archive.write(path, Path("kellgren") / inside)
        about = distribution("kellgren")  # not installed there, and a run's facts name the version
        metadata = f"kellgren-{about.version}.dist-info/METADATA"
        archive.writestr(metadata, about.read_text("METADATA") or "")


# --- there ---------------------------------------------------------------------------------------


def receive(options: argparse.Namespace) -> int:
    """Keep the files of loads; say what is still to come."""
    received: Path = options.work / RECEIVED
    received.mkdir(parents=True, exist_ok=True)
    for load in options.loads:
        for path in sorted(load.iterdir()):
            draft = received / f".{path.name}"
            shutil.copyfile(path, draft)
            draft.replace(received / path.name)
    if not (received / ORDER).exists():
        print(f"{ORDER} is still to come, in the first load")
        return 0
    order = json.loads((received / ORDER).read_text())
    missing = [name for name in order["files"] if not (received / name).exists()]
    print(f"still to come: {', '.join(missing)}" if missing else "all is here")
    return 0


def train(options: argparse.Namespace) -> int:
    """Unpack what is not unpacked, go on with the campaign, pack what it finished."""
    work: Path = options.work.resolve()
    if not (work / RECEIVED / ORDER).exists():
        return _complain(f"{ORDER} is missing: receive the first load")
    order = json.loads((work / RECEIVED / ORDER).read_text())
    wrong = [
        name
        for name, digest in order["files"].items()
        if not (work / RECEIVED / name).exists() or _sha256(work / RECEIVED / name) != digest
    ]
    if wrong:
        return _complain(f"missing or damaged: {', '.join(wrong)}: receive their loads again")
    if options.results.exists() and any(options.results.iterdir()):
        return _complain(f"{options.results} is not empty: name a new or empty folder")
    environment = _unpack_all(work, order)
    code = _go_on(work, order, options, environment) if options.max_minutes else 0
    packed = _pack_results(work, options, environment)
    return packed or code


def _unpack_all(work: Path, order: dict[str, Any]) -> dict[str, str]:
    """Put source, knees, weights and libraries where they belong; the environment to run in."""
    received = work / RECEIVED
    with zipfile.ZipFile(received / SOURCE) as archive:
        _once(work / "source", order["files"][SOURCE], archive.extractall)
    for manifest in sorted(received.glob("*.pack.json")):
        about = json.loads(manifest.read_text("utf-8"))
        pieces = [received / piece["name"] for piece in about["pieces"]]
        place = work / (
            f"data/{_data_folder(order)}" if about["kind"] == "knees" else about["name"]
        )
        if manifest.name in order["files"]:
            _once(place, manifest.name, lambda draft, pieces=pieces: _untar(pieces, draft))
            if about["name"] == "wheels":
                _once(
                    work / "site", manifest.name, lambda draft, place=place: _install(place, draft)
                )
    paths = [work / "source", work / "site"]
    inherited = os.environ.get("PYTHONPATH")
    joined = os.pathsep.join([*map(str, paths), *([inherited] if inherited else [])])
    return {**os.environ, "PYTHONPATH": joined, "PYTHONUNBUFFERED": "1"}


def _data_folder(order: dict[str, Any]) -> str:
    return str(order["data"]).split("/")[0]


def _once(place: Path, version: str, fill: Any) -> None:
    """Fill a folder whole, unless it holds that version already."""
    note = place.with_name(f".{place.name}.version")
    if place.exists() and note.exists() and note.read_text() == version:
        return
    draft = place.with_name(f".{place.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    fill(draft)
    shutil.rmtree(place, ignore_errors=True)
    draft.rename(place)
    note.write_text(version)


def _untar(pieces: Sequence[Path], folder: Path) -> None:
    """Write a pack's files; its pieces were checked, and joined they are a plain tar."""
    with tempfile.TemporaryFile(dir=folder.parent) as joined:
        for piece in pieces:
            with piece.open("rb") as stream:
                shutil.copyfileobj(stream, joined)
        joined.seek(0)
        _extract(joined, folder)


def _extract(stream: IO[bytes], folder: Path) -> None:
    with tarfile.open(fileobj=stream) as archive:
        archive.extractall(folder, filter="data")


def _install(wheels: Path, site: Path) -> None:
    """A wheel is a zip of what belongs into a folder of libraries; its programs are not needed."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)


def _go_on(
    work: Path, order: dict[str, Any], options: argparse.Namespace, environment: dict[str, str]
) -> int:
    """Run the campaign, and end it where it does not end by itself in time."""
    own = work / RECEIVED / order["campaign"]
    words = [
        *(sys.executable, "-m", "kellgren", "train", "ensemble"),
        *(str(own) if own.is_file() else order["campaign"], "--out", str(work / CAMPAIGN)),
        *("--data", str(work / "data" / order["data"])),
        *(["--weights-dir", str(work / "weights")] if order["weights"] else []),
        *(["--runners", str(options.runners)] if options.runners > 1 else []),
        *("--max-minutes", str(options.max_minutes)),
    ]
    began = time.monotonic()
    with _finished_elsewhere(work, order["finished"]), ExitStack() as shared:
        if options.runners > 1:
            environment = environment | _share_gpu(work, shared)
        process = subprocess.Popen(words, env=environment, process_group=0)
        try:
            code = process.wait((options.max_minutes + options.grace_minutes) * 60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the jobs in flight go on from checkpoints
            code = process.wait()
            print(f"ended {options.grace_minutes:g} minutes over the time", file=sys.stderr)
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)
            raise
    print(f"trained for {(time.monotonic() - began) / 60:.1f} minutes", file=sys.stderr)
    return code


def _share_gpu(work: Path, until: ExitStack) -> dict[str, str]:
    """Let the kernels of several runners run side by side on an NVIDIA GPU: where its server is.

    Without the server the GPU gives each process slices of time, and six runners together were
    slower than one alone (docs/measurements/training-on-a-gpu.md). It needs no right and changes no
    setting of the GPU; it ends with the training. Where there is none, nothing happens.
    """
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None:
        return {}
    places = {
        "CUDA_MPS_PIPE_DIRECTORY": str(work / "mps"),
        "CUDA_MPS_LOG_DIRECTORY": str(work / "mps-log"),
    }
    for place in places.values():
        Path(place).mkdir(exist_ok=True)
    environment = os.environ | places
    if subprocess.run([control, "-d"], env=environment, check=False).returncode:
        return {}
    until.callback(
        subprocess.run, [control], input="quit\n", text=True, env=environment, check=False
    )
    return places


def _finished_elsewhere(work: Path, names: Sequence[str]) -> ExitStack:
    """Hold the locks of jobs that an earlier machine finished: no runner begins them."""
    held = ExitStack()
    if names:
        sys.path.append(str(work / "site"))
        from filelock import FileLock

        locks = work / CAMPAIGN / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        for name in names:
            held.enter_context(FileLock(locks / f"{name}.lock"))
    return held


def _pack_results(work: Path, options: argparse.Namespace, environment: dict[str, str]) -> int:
    """Pack what is finished and was not packed before; remember it as sent."""
    sent = work / SENT
    if options.all_again:
        shutil.rmtree(sent, ignore_errors=True)
    sent.mkdir(exist_ok=True)
    words = [
        *(sys.executable, "-m", "kellgren", "train", "pack", str(work / CAMPAIGN)),
        *("-o", str(options.results), "--piece-mb", str(options.piece_mb)),
        *("--pieces-most", str(options.pieces_most)),
        *(word for manifest in sorted(sent.iterdir()) for word in ("--after", str(manifest))),
    ]
    code = subprocess.run(words, env=environment, check=False).returncode
    if code == 0:
        for manifest in options.results.glob("*.pack.json"):
            shutil.copyfile(manifest, sent / manifest.name)
    return code


# --- both ----------------------------------------------------------------------------------------


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _complain(problem: str) -> int:
    print(f"error: {problem}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(required=True)
    here = steps.add_parser("prepare", help="here: write the loads")
    here.set_defaults(step=prepare)
    here.add_argument("campaign", help="TOML file, or name of a shipped campaign")
    here.add_argument("--data", type=Path, required=True, help="folder of knees, or a manifest")
    here.add_argument(
        "--weights", type=Path, nargs="+", default=(), help="files of ImageNet weights it needs"
    )
    here.add_argument(
        "--wheels", type=Path, nargs="+", default=(), help="libraries that the machine lacks"
    )
    here.add_argument("--finished", type=Path, help="campaign whose finished jobs are not redone")
    here.add_argument("--load-mb", type=float, default=60, help="most megabytes of a load (60)")
    here.add_argument("--piece-mb", type=float, default=5, help="most megabytes of a piece (5)")
    here.add_argument("-o", "--output", type=Path, required=True, help="folder for the loads")
    into = steps.add_parser("receive", help="there: keep what a load brings")
    into.set_defaults(step=receive)
    into.add_argument("loads", type=Path, nargs="+", help="folders of loads")
    into.add_argument("--work", type=Path, required=True, help="folder that stays between calls")
    there = steps.add_parser("train", help="there: go on with the campaign, and pack")
    there.set_defaults(step=train)
    there.add_argument("--work", type=Path, required=True, help="folder that stays between calls")
    there.add_argument("--results", type=Path, required=True, help="folder that is fetched")
    there.add_argument("--runners", type=int, default=1, help="jobs at a time (1)")
    there.add_argument(
        "--max-minutes", type=float, required=True, help="for training; 0: only pack what is left"
    )
    there.add_argument(
        "--grace-minutes", type=float, default=1, help="over the time, then training is ended (1)"
    )
    there.add_argument("--piece-mb", type=float, default=15, help="most megabytes a file (15)")
    there.add_argument("--pieces-most", type=int, default=8, help="most files (8)")
    there.add_argument(
        "--all-again", action="store_true", help="pack also what was packed: it never arrived"
    )
    return parser


def main() -> None:
    """Do one step."""
    options = _parser().parse_args()
    sys.exit(options.step(options))


if __name__ == "__main__":
    main()
