"""Make the picture gate that refuses implants, growth plates and what is no frontal knee.

    python scripts/make_picture_gate.py --data kneeKL299 [--frames frames] [-o FOLDER]

The network, the first blocks of EfficientNet-Lite2 with weights of ImageNet, is the one that lies
in the output folder already; --weights makes it from timm's file again. Learning takes a few
minutes on one core. The gate belongs to no bundle: run this again only to change the gate itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kellgren.data.manifest import for_training, index
from kellgren.localisation.picture_gate import NETWORK, default_folder
from kellgren.training.gate_making.build import build_gate, roles_of
from kellgren.training.gate_making.feature_network import exported
from kellgren.training.knee_detector.run import load_frames

BOXES = Path(__file__).parents[1] / "benchmarks" / "frames_boxes.csv"


def main() -> None:
    """Make it, and print its limits and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="published folder or manifest")
    parser.add_argument("--frames", type=Path, help="folder of real films; the part train is used")
    parser.add_argument("--weights", type=Path, help="tf_efficientnet_lite2 of timm, safetensors")
    parser.add_argument("--knees", type=int, default=600, help="to learn from")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("-o", "--output", type=Path, default=default_folder())
    options = parser.parse_args()
    source = options.weights
    network = exported(source) if source else (options.output / NETWORK).read_bytes()
    frames = load_frames(options.frames, BOXES) if options.frames else []
    roles = roles_of(for_training(index(options.data), options.data), options.knees, options.seed)
    card = build_gate(
        network,
        roles,
        frames,
        options.output,
        seed=options.seed,
        tell=lambda text: print(text, flush=True),
    )
    for name in ("upright", "corrected", "warned"):
        print(name, getattr(card, name))
    size = sum(path.stat().st_size for path in options.output.iterdir())
    print(f"{size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
