"""Training: settings, the step, the loop, checkpoints and the folder of a run."""
