"""What a training of 1,800 steps gives: made once, kept in recording.npz, played in chapter 11.

`python tutorials/recording.py` makes the file anew, in a few minutes. It trains as `minirpn train`
does, with the settings of chapter 11. So the live training of that chapter takes the same first
steps.

In the file, by name (S steps, V validations, T moments; all numbers are float32 but for the steps
and the places of pictures, which are int32):

    losses        (S, 4)      loss, its two terms (objectness, box), learning rate of each step
    validated     (V,)        steps after which the network was measured on unseen pictures
    validations   (V, 3)      mean loss and its two terms there
    recalls       (V, N, I)   recall of N numbers of proposals at I IoU thresholds: COUNTS, IOUS
    moments       (T,)        steps after which the network looked at one unseen picture
    objectness    (T, Hf, Wf) probability of an object, the highest of each cell's anchors
    boxes, scores (T, 50, 4)  its best proposals, half-open pixels, and (T, 50) their scores
    shown         (P,)        places of further pictures in the unseen split
    shown_boxes   (P, 50, 4)  their best proposals in the end; shown_scores (P, 50)
    wrong_recalls (N, I)      recalls of another training, after 300 steps with the paper's anchors
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minirpn import data, rpn
from minirpn.training.build import build_pipeline, open_dataset
from minirpn.training.config import load_config
from minirpn.training.evaluate import validate
from minirpn.training.run_folder import create_run
from minirpn.training.trainer import Trainer

PATH = Path(__file__).with_suffix(".npz")
STEPS = 1800
SETTINGS = {
    "synthetic.images": 400,
    "synthetic.image_size": [160, 208],
    "synthetic.max_objects": 3,
    "resize.short_side": 160,
    "anchors.scales": [1.5, 3.0, 6.0],
    "sampling.batch_size": 32,
    "loss.n_cls": 32,
    "optimizer.steps": STEPS,
}
# Often at first, when much changes.
MOMENTS = (
    *(0, 10, 20, 40, 60, 80, 100, 150, 200, 300, 400, 500, 600),
    *(800, 1000, 1200, 1350, 1500, STEPS),
)
VALIDATE_EVERY = 150
TOP = 50  # proposals kept of a picture
PICTURE = 25  # the place in the unseen split of the picture that is looked at again and again
SHOWN = (0, 2, 7, 11)
COUNTS = (50, 100, 300)
WRONG = {"anchors.scales": [8.0, 16.0, 32.0]}  # the paper's, for larger images
WRONG_STEPS = 300
IOUS = tuple(k / 20 for k in range(10, 20))


class Look(NamedTuple):
    """What the network says of one picture."""

    objectness: np.ndarray  # (Hf, Wf)
    boxes: np.ndarray  # (TOP, 4), zero where there are fewer
    scores: np.ndarray  # (TOP,)


def look(network, image, config):
    """Return what a network says of a picture (H, W, 3)."""
    pixels = network.backbone.preprocessing(image)
    output, _ = network.forward(pixels[None])
    found = output.propose(pixels.shape[1:], config=config.proposals)
    Hf, Wf = output.features.shape[2:]
    maps = rpn.object_scores(output.objectness[0]).reshape(Hf, Wf, -1).max(axis=2)
    boxes, scores = np.zeros((TOP, 4)), np.zeros(TOP)
    boxes[: len(found.boxes[:TOP])] = found.boxes[:TOP]
    scores[: len(found.scores[:TOP])] = found.scores[:TOP]
    return Look(maps, boxes, scores)


def measure(trainer, unseen):
    """Return the losses (3,) and the recalls (N, I) of the network now, on unseen pictures."""
    config = trainer.config
    result = validate(
        trainer.model,
        unseen,
        build_pipeline(config, trainer.network),
        trainer.objective,
        config.proposals,
        seed=config.run.seed,
    )
    assert (result.recall.counts, result.recall.iou_thresholds) == (COUNTS, IOUS)
    return [result.loss, result.objectness_loss, result.box_loss], result.recall.recall


def record(steps=STEPS, *, changes=None, say=print):
    """Return what is kept, by name, of the first `steps` of the training, or of a changed one."""
    config = load_config(None, SETTINGS | (changes or {}))
    trainer = Trainer(config)
    losses, measured, looks = [], {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = create_run(Path(name) / "run", config)
        seen, unseen = (open_dataset(config, folder, split) for split in ("train", "val"))
        draws = data.training_order(len(seen), seed=config.run.seed, augment=config.data.augment)
        pipeline = build_pipeline(config, trainer.network)
        with pipeline.examples(seen, draws, finish=trainer.work_ahead()) as examples:
            while True:
                if trainer.step in MOMENTS:
                    looks[trainer.step] = look(trainer.network, unseen[PICTURE].image, config)
                if trainer.step % VALIDATE_EVERY == 0:
                    measured[trainer.step] = measure(trainer, unseen)
                    recall = measured[trainer.step][1][COUNTS.index(100), 0]
                    say(f"step {trainer.step:4}: recall {recall:.3f} (100 proposals, IoU 0.5)")
                if trainer.step == steps:
                    break
                lr = trainer.lr
                now = trainer.train_step([next(examples)]).losses
                losses.append([now["loss"], now["objectness_loss"], now["box_loss"], lr])
        ends = [look(trainer.network, unseen[place].image, config) for place in SHOWN]
    kept = {
        "losses": losses,
        "validated": list(measured),
        "validations": [losses for losses, _ in measured.values()],
        "recalls": [recalls for _, recalls in measured.values()],
        "moments": list(looks),
        "objectness": [one.objectness for one in looks.values()],
        "boxes": [one.boxes for one in looks.values()],
        "scores": [one.scores for one in looks.values()],
        "shown": SHOWN,
        "shown_boxes": [one.boxes for one in ends],
        "shown_scores": [one.scores for one in ends],
    }
    whole = {"validated", "moments", "shown"}
    return {
        name: np.array(values, dtype=np.int32 if name in whole else np.float32)
        for name, values in kept.items()
    }


def load(path=PATH):
    """Return what is kept, by name."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


if __name__ == "__main__":
    wrong = record(WRONG_STEPS, changes=WRONG)
    np.savez_compressed(PATH, **record(), wrong_recalls=wrong["recalls"][-1])
    print(f"{PATH}: {PATH.stat().st_size / 1000:.0f} kB")
