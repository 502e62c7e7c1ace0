"""The one-shot loop: trains shared weights epoch by epoch, with a checkpoint after each.

A method (nas/oneshot/paths.py, gates.py) defines an epoch; the shared weights hold the data, images
(image_weights.py) or a text (text_weights.py). Every random draw of an epoch is a function of the
seed and the epoch, or of state that is saved with the epoch. So a run that was killed and continued
gives the same result as an uninterrupted one.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from nas.core.files import write_atomically
from nas.core.json_values import dumped, read_json
from nas.core.trial import Arch, ConfigError, Proposal
from nas.engine.store import Store
from nas.oneshot.interface import Method, SharedWeights
from nas.run import folder as runs

CHECKPOINTS = "checkpoints"  # in the run folder: the weights after the last epoch
SCORED_AT_ONCE = 64  # architectures in one call of the graph
_OWN = 5  # the random stream of the batches on which trials are scored

Values = dict[str, float]


def train(
    shared: SharedWeights,
    method: Method,
    store: Store,
    run_dir: Path,
    *,
    on_epoch: Callable[[int, Values], None] = lambda epoch, values: None,
) -> list[Values]:
    """Trains the shared weights, continuing after the last epoch that is saved.

    on_epoch: called with each new epoch once it is saved.

    Returns: for every epoch its loss, accuracy or perplexity, seconds and the method's own values.

    Raises ConfigError if a loss is not finite, or a checkpoint cannot be written or read.
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
        start = time.perf_counter()
        values = method.epoch(epoch, shared.batch_order(epoch), shared.learning_rates(epoch))
        values["seconds"] = time.perf_counter() - start
        if not np.isfinite(values["loss"]):
            raise ConfigError(
                f"the loss is {values['loss']} after epoch {epoch + 1}; a smaller "
                "recipe.learning_rate or recipe.clip_norm=5 may help"
            )
        history.append(values)
        _write(checkpoint, _path(run_dir, epoch + 1))
        write_atomically(run_dir / runs.EPOCHS, dumped(history, indent=1) + "\n")
        last = epoch + 1 == epochs
        state = method.deriver().state() if last else method.state()
        # The epoch counts once this is saved; a run killed before repeats it.
        store.save(state={"told": 0, "controller": state, "epochs": epoch + 1})
        _delete(run_dir, epoch)
        on_epoch(epoch, values)
    return history


def epochs_done(store: Store, epochs: int) -> int:
    """The number of epochs that are saved."""
    saved = store.controller_state()
    # Once the derivation has begun, the saved state is its controller's, without `epochs`.
    return 0 if saved is None else saved.get("epochs", epochs)


class SharedWeightsScore:
    """An evaluator: scores an architecture on validation data with the shared weights.

        score = SharedWeightsScore(shared, skeleton, size=1000)
        print(score(0, Proposal(arch))["valid_accuracy"])

    Args:
      size: how many validation images or tokens to use, from the first on; None for all.
      setting: what `size` is called in the configuration.
      own: a seed. Each trial then has its own batch of `size` validation images, or of all if they
        are fewer, as a shuffled pass over the images gives one batch after another.

    Raises ConfigError for a size that the data do not have.
    """

    def __init__(
        self,
        shared: SharedWeights,
        skeleton: Any,
        *,
        size: int | None = None,
        setting: str = "valid_images",
        own: int | None = None,
    ):
        self.shared, self.skeleton, self.own = shared, skeleton, own
        if own is not None and size is not None:
            size = min(size, len(shared.data.valid_images))
        self.batches = shared.valid_batches(size, setting)

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """valid_accuracy or valid_perplexity, valid_loss and costs."""
        score, loss = self.shared.scores([proposal.arch], self._batches(trial_id)[None])
        cost = self.shared.space.cost(proposal.arch, self.skeleton)
        return {
            self.shared.metric: float(score[0]),
            "valid_loss": float(loss[0]),
            "parameters": cost.parameters,
            "flops": cost.flops,
        }

    def _batches(self, trial_id: int) -> np.ndarray:
        """The validation data that a trial is scored on: [batches, batch]."""
        if self.own is None:
            return self.batches
        size, count = self.batches.size, len(self.shared.data.valid_images)
        passed, place = divmod(trial_id, count // size)
        order = np.random.default_rng([self.own, passed, _OWN]).permutation(count)
        return order[place * size : (place + 1) * size].reshape(self.batches.shape)

    def all(self, archs: Sequence[Arch]) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy or perplexity, and the loss, of each architecture: [archs] each.

        Equal paths are scored once.
        """
        effective = self.shared.supernet.effective(tf.constant(np.array(archs), tf.int32)).numpy()
        _, first_of, path_of = np.unique(effective, axis=0, return_index=True, return_inverse=True)
        paths, scores = np.array(archs)[first_of], []
        for first in range(0, len(paths), SCORED_AT_ONCE):
            chunk = paths[first : first + SCORED_AT_ONCE]
            batches = np.broadcast_to(self.batches, (len(chunk), *self.batches.shape))
            scores.append(np.stack(self.shared.scores(chunk, batches)))
        score, loss = np.concatenate(scores, 1)[:, path_of.reshape(-1)]
        return score, loss


def _path(run_dir: Path, epoch: int) -> Path:
    return run_dir / CHECKPOINTS / f"epoch-{epoch}"


def _write(checkpoint: tf.train.Checkpoint, path: Path) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        checkpoint.write(str(path))
    except (OSError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{path} cannot be written: {reason}. Earlier epochs are saved; mend that and run the "
            "same command with this run_dir again"
        ) from error


def _read(checkpoint: tf.train.Checkpoint, path: Path) -> None:
    try:
        checkpoint.read(str(path)).assert_consumed()
    except (OSError, AssertionError, ValueError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{path} is missing or damaged ({reason}); name a new run_dir to start again"
        ) from error


def _delete(run_dir: Path, epoch: int) -> None:
    """Deletes the checkpoint of an earlier epoch."""
    for file in (run_dir / CHECKPOINTS).glob(f"epoch-{epoch}.*"):
        file.unlink()


def _history(run_dir: Path) -> list[Values]:
    path = run_dir / runs.EPOCHS
    if not path.is_file():
        return []
    return read_json(path, runs.EPOCHS_SHAPE, "name a new run_dir to start again")
