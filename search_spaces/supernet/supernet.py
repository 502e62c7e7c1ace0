"""A supernet: one network, traced once, that holds the weights of all architectures of a space.

The architecture enters as a tensor, in one of two forms:

  [decisions] int32: only the chosen branches run, forwards and backwards. That is one path, as in
    ENAS (Pham et al. 2018, arXiv:1802.03268, section 2) and SPOS (Guo et al. 2020,
    arXiv:1904.00420, section 3.1).
  [decisions, choices] float32, the gates: all branches run, and their outputs are multiplied by the
    gates and added up. Softmax gates are DARTS (Liu et al. 2019, arXiv:1806.09055, section 2.2).
    One-hot gates with a gradient are GDAS (Dong & Yang 2019, arXiv:1910.04465, section 3.2); here
    all branches run, while its authors' code runs only the drawn one.
"""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import Arch
from nas.ops.keras import KerasOps
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.supernet.ops import Path, SupernetOps
from nas.search_spaces.supernet.rows import Rows


class Supernet:
    """The network with shared weights, as `space.supernet(skeleton)` returns it.

    Args:
      write: writes the network with a SupernetOps, from its image to the logits.
      effective: arch [..., decisions] int32 -> answers [..., questions] int32, by which `write`
        chooses. They are the same decisions, with choices that change nothing replaced as the
        space's own `build` treats them, or answers to other questions. None: the architecture
        itself.
      static_name: (architecture, branches, name in `write`) -> name in `space.build`; None: the
        same name.

    Attributes:
      groups: the trainable variables, by the branches that contain them (() for none) and by the
        question whose answer selects their row (None if they have no rows).
      kernels: for each of these variables, whether it is a kernel, which weight decay reaches.
    """

    def __init__(
        self,
        space: ImageSpace,
        skeleton: ImageSkeleton,
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
            if not variables:  # a normalization without scale and offset
                continue
            self.groups.setdefault(group, []).extend(variables)
            kernels = (
                layer.kernels
                if isinstance(layer, Rows)
                else [v for v in variables if len(v.shape) > 1]
            )
            self.kernels.setdefault(group, []).extend(
                any(variable is kernel for kernel in kernels) for variable in variables
            )

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
          batch_statistics: outside of training, normalise by the moments of the batch instead of
            the moving averages, which mix all architectures.
          seed: [2] int32, for dropout and dropped paths in training.
          progress: [] float32 in [0, 1], the share of the training that is done. The rates of
            dropped paths grow with it.
        """
        return self.heads(
            images, choice, training=training, batch_statistics=batch_statistics, seed=seed,
            progress=progress,
        )[0]  # fmt: skip

    def heads(self, images: tf.Tensor, choice: tf.Tensor, **settings: Any) -> list[tf.Tensor]:
        """The logits of a call; in training, followed by those of the auxiliary head, if any."""
        self._ops.begin(images, self._read(choice), **settings)
        return [self.write(self._ops), *self._ops.auxiliary_logits]

    def active(self, choice: tf.Tensor) -> list[tf.Tensor | bool]:
        """For each of `groups`, whether the choice uses it: [] bool, or True if all choices do."""
        choice = self._read(choice)
        if choice.shape.rank == 1:
            return [_all(choice[d] == k for d, k in path) for path, _ in self.groups]
        # Later questions are about what a path may leave out; gates have none, and run all of it.
        gates = choice.shape[0]
        return [_all(choice[d, k] != 0 for d, k in path if d < gates) for path, _ in self.groups]

    def rows(self, choice: tf.Tensor) -> list[tf.Tensor | None]:
        """For each of `groups`, the row of variables that the choice uses: [] int32, or None."""
        choice = self._read(choice)
        return [None if question is None else choice[question] for _, question in self.groups]

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables, moving averages of normalizations included, in a fixed order."""
        return [v for layer in self._ops.made.values() for v in layer.variables]

    def layers(self, arch: Arch) -> dict[str, keras.layers.Layer]:
        """The layers of an architecture, by the names that they have in `space.build(arch)`.

        For a layer with a row of weights for each choice, the result has a copy with the chosen
        row.
        """
        effective_choices = self.effective(tf.constant(arch, tf.int32)).numpy()
        ops = self._ops
        layers: dict[str, keras.layers.Layer] = {}
        for name, layer in ops.made.items():
            if not all(effective_choices[d] == k for d, k in ops.paths[name]):
                continue
            if isinstance(layer, Rows):
                layers |= layer.of(int(effective_choices[layer.decision]))
            else:
                layers[self._static_name(arch, ops.paths[name], ops.static_names[name])] = layer
        return layers

    def static(self, arch: Arch) -> keras.Model:
        """The network of one architecture, over the supernet's own layers (see `layers`)."""
        ops = KerasOps(self.skeleton.image_shape, reuse=self.layers(arch))
        return ops.model(self.space.network(ops, arch, self.skeleton))

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


def _all(conditions: Iterable[tf.Tensor]) -> tf.Tensor | bool:
    result: tf.Tensor | bool = True
    for condition in conditions:
        result = condition if result is True else tf.logical_and(result, condition)
    return result
