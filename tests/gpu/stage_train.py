"""Stage ``train`` of tests/gpu/session.py: trainings on the card, from start to report.

``same``    the same seed on the card and on the CPU: labels and samples equal, losses close
``shapes``  the first command, ``minirpn train``, as it is
``small``   the recipe of VOC data, on pictures made on the spot; fewer steps than it has
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

SAME_STEPS = 20
# The greatest relative difference of a loss after so few steps; labels may not differ at all.
LOSS_TOLERANCE = 1e-3
SMALL_STEPS = 1_000


def command(words: list[str], folder: Path) -> dict[str, Any]:
    """Run ``minirpn train``, and return what came of it."""
    from minirpn.cli.main import main as minirpn

    start = time.monotonic()
    status = minirpn(["train", "--device", "cuda", "--out", str(folder), *words])
    seconds = time.monotonic() - start
    if status:
        raise SystemExit(status)
    recall = json.loads((folder / "recall.json").read_text())
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    steps = [line for line in lines if line["kind"] == "train"]
    half, at_half = recall["iou_thresholds"].index(0.5), dict[str, float]()
    for count, row in zip(recall["counts"], recall["recall"], strict=True):
        at_half[str(count)] = row[half]
    return {
        "command": ["minirpn", "train", *words],
        "seconds": seconds,
        "steps": len(steps),
        "median_step_seconds": statistics.median(line["step_seconds"] for line in steps),
        "first_loss": steps[0]["loss"],
        "last_losses": statistics.mean(line["loss"] for line in steps[-20:]),
        "recall_at_0.5": at_half,
        "average_recall": dict(
            zip(map(str, recall["counts"]), recall["average_recall"], strict=True)
        ),
        "images": recall["images"],
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png")),
        "report_bytes": (folder / "report.html").stat().st_size,
    }


def figure_of(found: dict[str, Any]) -> str:
    recall = found["recall_at_0.5"]
    count = "100" if "100" in recall else list(recall)[-1]
    return (
        f"recall {recall[count]:.3f} with {count} proposals, {found['steps']} steps of"
        f" {1e3 * found['median_step_seconds']:.1f} ms, {found['seconds']:.1f} s in all"
    )


def shapes(work: Path, small: bool) -> tuple[dict[str, Any], str]:
    words = []
    if small:
        (work / "few.toml").write_text("[synthetic]\nimages = 20\n")
        words = ["--config", str(work / "few.toml"), "--steps", "6"]
    found = command(words, work / "shapes")
    return found, figure_of(found)


def recipe_small(work: Path, small: bool) -> tuple[dict[str, Any], str]:
    from minirpn.data import generate
    from minirpn.data.synthetic import SyntheticConfig

    size = (100, 130) if small else (375, 500)
    start = time.monotonic()
    folder = generate(work / "voc", SyntheticConfig(images=10 if small else 200, image_size=size))
    made = time.monotonic() - start
    words = ["--recipe", "small", "--voc", str(folder)]
    words += ["--steps", "4", "--short-side", "100"] if small else ["--steps", str(SMALL_STEPS)]
    found = command(words, work / "small")
    return found | {"pictures_seconds": made}, figure_of(found)


def same(work: Path, small: bool) -> tuple[dict[str, Any], str]:
    from minirpn.devices import open_device
    from minirpn.studies import Measured, numerics
    from minirpn.training.build import load_network, open_dataset
    from minirpn.training.config import default_config
    from minirpn.training.run_folder import create_run
    from minirpn.training.train import train

    count = 3 if small else SAME_STEPS
    numerics.REPLAYED = count  # of each step the labels, not only of the first ones
    found = {}
    for name in ("cpu", "cuda"):
        config = default_config(voc=False)
        every = {"validate_every": count, "checkpoint_every": count}
        config = replace(
            config,
            synthetic=replace(config.synthetic, images=40),
            optimizer=replace(config.optimizer, steps=count),
            run=replace(config.run, device=name, pictures=False, **every),
        )
        device = open_device(name)
        folder = create_run(work / f"same-{name}", config, device)
        start = time.monotonic()
        train(config, folder, device=device, resume=False, progress=False)
        seconds = time.monotonic() - start
        network, stored = load_network(folder.path)
        dataset = open_dataset(stored, folder, "val")
        steps = numerics.first_steps(Measured(folder, stored, network, dataset, None))
        found[name] = steps | {"seconds": seconds}
    here, there = found["cpu"], found["cuda"]
    apart = numerics.relative_differences(there["losses"], here["losses"])
    equal = {
        key: sum(a == b for a, b in zip(there[key], here[key], strict=True))
        for key in ("labels", "sampled")
    }
    well = min(equal.values()) == count == len(apart) and apart.max() <= LOSS_TOLERANCE
    account = {
        "steps": count,
        "steps_with_equal_labels": equal["labels"],
        "steps_with_equal_samples": equal["sampled"],
        "losses": {name: each["losses"] for name, each in found.items()},
        "largest_relative_difference": float(apart.max()),
        "tolerance": LOSS_TOLERANCE,
        "seconds": {name: each["seconds"] for name, each in found.items()},
        "well": bool(well),
    }
    text = (
        f"labels equal in {equal['labels']} of {count} steps, samples in {equal['sampled']};"
        f" losses within {apart.max():.1e}"
    )
    return account, text


KINDS = {"same": same, "shapes": shapes, "small": recipe_small}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("json", type=Path, help="where the account is added")
    parser.add_argument("work", type=Path, help="a folder for data and runs")
    parser.add_argument("--small", action="store_true", help="a few steps")
    args = parser.parse_args()

    from minirpn.devices import open_device
    from minirpn.errors import InputError

    try:
        open_device("cuda")
    except InputError as error:
        print(f"skipped: {error}")
        return 77
    account, figure = KINDS[args.kind](args.work, args.small)
    accounts = json.loads(args.json.read_text()) if args.json.exists() else {}
    args.json.write_text(json.dumps(accounts | {args.kind: account}, indent=1) + "\n")
    print(f"figure: {figure}")
    return int(not account.get("well", True))


if __name__ == "__main__":
    sys.exit(main())
