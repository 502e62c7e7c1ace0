"""The one-shot loop: epochs on shared weights, a checkpoint after each, then the derivation.

A method (oneshot_paths.py, oneshot_gates.py) says what an epoch does, the shared weights what they
learn from: images (oneshot_graph.py) or a text (oneshot_language.py). Every random draw of an epoch
is a function of the seed and the epoch, or of the state that is saved with it; so a run that was
killed and continued ends as one that was not.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from nas.core.files import write_atomically
from nas.core.trial import Arch, ConfigError, Proposal
from nas.engine.store import Store
from nas.run.folder import EPOCHS

CHECKPOINTS = "checkpoints"  # in the run folder: the weights after the last epoch

Values = dict[str, float]


def train(
    shared,
    method,
    store: Store,
    run_dir: Path,
    *,
    on_epoch: Callable[[int, Values], None] = lambda epoch, values: None,
) -> list[Values]:
    """Trains the shared weights, or goes on after the last epoch that is saved.

    on_epoch: called with each new epoch once it is saved.

    Returns: what came out of every epoch: loss, accuracy or perplexity, seconds and what the method
      adds.

    Raises ConfigError where the loss is not finite, or a checkpoint cannot be written or read.
    """
    method.start(shared)
    checkpoint = tf.train.Checkpoint(tensors=[*shared.tensors, *method.tensors])
    epochs = shared.recipe.epochs
    done = epochs_done(store, epochs)
    if done:
        saved = store.controller_state() or {}
        if "epochs" in saved:
            method.load_state(saved["controller"])
        _read(checkpoint, _path(run_dir, done))
    history = _history(run_dir)[:done]
    for epoch in range(done, epochs):
        began = time.perf_counter()
        values = method.epoch(epoch, shared.order(epoch), shared.rates(epoch))
        values["seconds"] = time.perf_counter() - began
        if not np.isfinite(values["loss"]):
            raise ConfigError(
                f"the loss is {values['loss']} after epoch {epoch + 1}; a smaller "
                "recipe.learning_rate or recipe.clip_norm=5 may help"
            )
        history.append(values)
        _write(checkpoint, _path(run_dir, epoch + 1))
        write_atomically(run_dir / EPOCHS, json.dumps(history, indent=1) + "\n")
        last = epoch + 1 == epochs
        state = method.deriver().state() if last else method.state()
        # From here on the epoch counts; before, it would be run again.
        store.save(state={"told": 0, "controller": state, "epochs": epoch + 1})
        _forget(run_dir, epoch)
        on_epoch(epoch, values)
    return history


def epochs_done(store: Store, epochs: int) -> int:
    """How many of the epochs are saved."""
    saved = store.controller_state()
    # From the derivation on, what is saved is the derivation's own.
    return 0 if saved is None else saved.get("epochs", epochs)


class SharedWeightsScore:
    """An evaluator: an architecture's score on validation data, with the shared weights.

    Args:
      size: so many of the validation images or tokens, the first ones; None for all.
      setting: what `size` is called in the configuration.
    """

    def __init__(self, shared, skeleton, *, size: int | None = None, setting: str = "valid_images"):
        self.shared, self.skeleton = shared, skeleton
        self.batches = shared.valid_batches(size, setting)

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """valid_accuracy or valid_perplexity, valid_loss and costs."""
        score, loss = self.shared.scores([proposal.arch], self.batches[None])
        cost = self.shared.space.cost(proposal.arch, self.skeleton)
        return {
            self.shared.metric: float(score[0]),
            "valid_loss": float(loss[0]),
            "parameters": cost.parameters,
            "flops": cost.flops,
        }

    def all(self, archs: Sequence[Arch]) -> np.ndarray:
        """The accuracy or perplexity of each: [archs]. Paths that are the same are scored once."""
        live = self.shared.supernet.effective(tf.constant(np.array(archs), tf.int32)).numpy()
        _, first_of, of_path = np.unique(live, axis=0, return_index=True, return_inverse=True)
        paths = np.array(archs)[first_of]
        found, many = [], 64
        for first in range(0, len(paths), many):
            part = paths[first : first + many]
            batches = np.broadcast_to(self.batches, (len(part), *self.batches.shape))
            found.append(self.shared.scores(part, batches)[0])
        return np.concatenate(found)[of_path.reshape(-1)]


def _path(run_dir: Path, epoch: int) -> Path:
    return run_dir / CHECKPOINTS / f"epoch-{epoch}"


def _write(checkpoint: tf.train.Checkpoint, path: Path) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        checkpoint.write(str(path))
    except (OSError, tf.errors.OpError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{path} cannot be written: {said}. Earlier epochs are saved; mend that and run the "
            "same command with this run_dir again"
        ) from error


def _read(checkpoint: tf.train.Checkpoint, path: Path) -> None:
    try:
        checkpoint.read(str(path)).assert_consumed()
    except (OSError, AssertionError, ValueError, tf.errors.OpError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{path} is missing or damaged ({said}); name a new run_dir to start again"
        ) from error


def _forget(run_dir: Path, epoch: int) -> None:
    for file in (run_dir / CHECKPOINTS).glob(f"epoch-{epoch}.*"):
        file.unlink()


def _history(run_dir: Path) -> list[Values]:
    path = run_dir / EPOCHS
    if not path.is_file():
        return []
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path} is damaged ({error}); name a new run_dir to start again"
        ) from None
