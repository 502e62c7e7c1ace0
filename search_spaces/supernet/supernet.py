"""A supernet: the weights of all architectures of a space in one network, which is traced once.

The architecture enters as a tensor. As [decisions] int32 only the branches that it has chosen run,
forwards and backwards: one path, as in ENAS (Pham et al. 2018, arXiv:1802.03268, section 2) and
SPOS (Guo et al. 2020, arXiv:1904.00420, section 3.1). As gates [decisions, choices] float32 all
run and are added up: softmax gates are DARTS (Liu et al. 2019, arXiv:1806.09055, section 2.2),
one-hot ones with a gradient GDAS (Dong & Yang 2019, arXiv:1910.04465, section 3.2), which
here pays for all branches where its authors' code runs the drawn one alone.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from nas.core.trial import Arch
from nas.ops.keras import KerasOps
from nas.search_spaces.supernet.ops import Path, SupernetOps
from nas.search_spaces.supernet.rows import Rows

if TYPE_CHECKING:
    from nas.core.skeleton import ImageSkeleton
    from nas.search_spaces.supernet.flat import FlatSupernet


class Supernet:
    """What `space.supernet(skeleton)` gives.

    Args:
      write: writes the network with a SupernetOps, from its image to the logits.
      live: arch [..., decisions] int32 -> what `write` chooses by, [..., questions] int32: the same
        with choices that change nothing as the space's own `build` takes them, or answers to other
        questions; None for the architecture itself.
      static_name: (architecture, branches, name in `write`) -> name in `space.build`; None for the
        same name.

    groups: the trainable variables, by the branches that they lie in, () for none, and the question
      whose answer is the row of theirs that is used, None where they have no rows.
    kernels: of each of them, whether it is a kernel, which decays.
    """

    def __init__(
        self,
        space,
        skeleton: "ImageSkeleton",
        write: Callable[[SupernetOps], Any],
        effective: Callable[[tf.Tensor], tf.Tensor] | None = None,
        static_name: Callable[[Arch, Path, str], str] | None = None,
    ):
        self.space, self.skeleton = space, skeleton
        self.write, self.effective = write, effective or (lambda arch: arch)
        self._static_name = static_name or (lambda arch, path, name: name)
        self._ops = SupernetOps(skeleton.image_shape)
        self.write(self._ops)  # makes every layer
        self.kernels: dict[tuple[Path, int | None], list[bool]] = {}
        self.groups: dict[tuple[Path, int | None], list[keras.Variable]] = {}
        for name, layer in self._ops.made.items():
            if name in self._ops.of_auxiliary_head and not skeleton.auxiliary_trained:
                continue
            group = self._ops.paths[name], getattr(layer, "decision", None)
            variables = layer.trainable_variables
            self.groups.setdefault(group, []).extend(variables)
            own = (
                layer.kernels
                if isinstance(layer, Rows)
                else [v for v in variables if len(v.shape) > 1]
            )
            self.kernels.setdefault(group, []).extend(any(v is k for k in own) for v in variables)

    def __call__(
        self,
        images: tf.Tensor,
        choice: tf.Tensor,
        *,
        training: bool,
        batch_statistics: bool = False,
        seed: tf.Tensor | None = None,
        progress: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """images [batch, height, width, channels] -> logits [batch, classes] float32.

        Args:
          choice: an architecture [decisions] int32, or gates [questions, choices] float32.
          batch_statistics: outside of training, normalise by the batch's own moments and not by the
            moving averages, which mix all architectures.
          seed: [2] int32, of dropout and dropped paths in training.
          progress: [] float32 in [0, 1], the share of the training that is done, by which the rates
            of dropped paths grow.
        """
        return self.heads(
            images, choice, training=training, batch_statistics=batch_statistics, seed=seed,
            progress=progress,
        )[0]  # fmt: skip

    def heads(self, images: tf.Tensor, choice: tf.Tensor, **settings: Any) -> list[tf.Tensor]:
        """As a call, and in training behind the logits those of the auxiliary head, if any."""
        self._ops.begin(images, self._read(choice), **settings)
        return [self.write(self._ops), *self._ops.auxiliary_logits]

    def active(self, choice: tf.Tensor) -> list[tf.Tensor | bool]:
        """Of each of `groups`, whether the choice uses it: [] bool, or True where all do."""
        choice = self._read(choice)
        if choice.shape.rank == 1:
            return [_all(choice[d] == k for d, k in path) for path, _ in self.groups]
        # Questions behind those of the gates are about what a path may leave out: gates run it.
        asked = choice.shape[0]
        return [_all(choice[d, k] != 0 for d, k in path if d < asked) for path, _ in self.groups]

    def rows(self, choice: tf.Tensor) -> list[tf.Tensor | None]:
        """Of each of `groups`, the row of its variables that the choice uses: [] int32, or None."""
        choice = self._read(choice)
        return [None if question is None else choice[question] for _, question in self.groups]

    @property
    def variables(self) -> list[keras.Variable]:
        """All, the moving averages of normalizations included, in an order that does not change."""
        return [v for layer in self._ops.made.values() for v in layer.variables]

    def layers(self, arch: Arch) -> dict[str, keras.layers.Layer]:
        """The layers of an architecture, by the names that they have in `space.build(arch)`.

        Layers that have a row of weights for each choice are there as copies of the chosen one.
        """
        live = self.effective(tf.constant(arch, tf.int32)).numpy()
        ops = self._ops
        found: dict[str, keras.layers.Layer] = {}
        for name, layer in ops.made.items():
            if not all(live[d] == k for d, k in ops.paths[name]):
                continue
            if isinstance(layer, Rows):
                found |= layer.of(int(live[layer.decision]))
            else:
                found[self._static_name(arch, ops.paths[name], ops.static_names[name])] = layer
        return found

    def static(self, arch: Arch) -> keras.Model:
        """The network of one architecture, over the supernet's own layers (see `layers`)."""
        ops = KerasOps(self.skeleton.image_shape, reuse=self.layers(arch))
        return ops.model(self.space.network(ops, arch, self.skeleton))

    def flat(self) -> "FlatSupernet":
        """The network over weights of its own, which lie in two vectors."""
        from nas.search_spaces.supernet.flat import FlatSupernet

        return FlatSupernet(self)

    def _read(self, choice: tf.Tensor) -> tf.Tensor:
        choice = tf.convert_to_tensor(choice)
        decisions, rank = len(self.space.decisions), choice.shape.rank
        questions = len(self.space.gate_counts()) if rank == 2 else "questions"
        if rank == 1 and choice.shape[0] == decisions:
            return self.effective(choice)
        if rank == 2 and choice.shape[0] == questions:
            return choice
        raise ValueError(
            f"a choice must be an architecture [{decisions}] int32 or gates [{questions}, choices] "
            f"float32, got {choice.shape} {choice.dtype.name}"
        )


def _all(conditions) -> tf.Tensor | bool:
    result: tf.Tensor | bool = True
    for condition in conditions:
        result = condition if result is True else tf.logical_and(result, condition)
    return result
