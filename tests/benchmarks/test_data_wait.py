"""How long a training step waits for its image, on real photographs."""

from __future__ import annotations

from dataclasses import replace

from minirpn.data import Loader, VOCDataset, training_order
from minirpn.training.build import build_pipeline
from minirpn.training.config import default_config
from minirpn.training.trainer import Trainer

STEPS = 20


def test_share_of_a_step_spent_waiting_for_data(benchmark, shared):
    config = default_config(voc=True)
    weights = str(shared / "weights" / "squeezenet_v1_1.npz")
    trainer = Trainer(replace(config, model=replace(config.model, weights=weights)))
    trainer.load_weights(weights)
    root = shared / "data" / "voc2007-subset" / "VOCdevkit"
    dataset = VOCDataset(root, split="train")
    pipeline = build_pipeline(config, trainer.network)

    def take_steps(examples: Loader) -> None:
        for _ in range(STEPS):
            trainer.train_step([next(examples)])

    with pipeline.examples(dataset, training_order(len(dataset), seed=0)) as examples:
        trainer.train_step([next(examples)])  # compiles, and fills the queue
        waited = examples.wait_seconds
        benchmark.pedantic(take_steps, args=(examples,), rounds=1)
        waited = examples.wait_seconds - waited
    benchmark.extra_info["share_waiting"] = waited / benchmark.stats.stats.total
