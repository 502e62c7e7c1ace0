"""The convolutional space of Zoph & Le 2017 (arXiv:1611.01578v2, sections 3.3 and 4.1).

Each layer is a convolution whose filter height, width and number, and perhaps strides, are chosen,
and then, for each earlier layer, whether it feeds this one. Not said in the paper and chosen here:
"same" padding, the order convolution, batch norm, ReLU, zeros padded at the bottom and the right,
global average pooling before the classifier, He's normal initialisation.
"""

import math
from collections.abc import Sequence

from nas.skeleton import ImageSkeleton
from nas.trial import Arch, ConfigError
from search_spaces.base import Cost, Decision, Graph, Space

IMAGE = -1  # the input, among the indices of layers


class ZophConv(Space):
    """`layers` convolutions with searched shapes and skip connections.

    Args:
      strides: choices for each axis, or None: every stride is 1 (section 4.1, v1).
    """

    def __init__(
        self,
        *,
        layers: int = 6,
        filter_heights: Sequence[int] = (1, 3, 5, 7),
        filter_widths: Sequence[int] = (1, 3, 5, 7),
        filters: Sequence[int] = (24, 36, 48, 64),
        strides: Sequence[int] | None = None,
    ):
        if layers < 1:
            raise ConfigError(f"space.layers must be at least 1, got {layers}")
        self.layers = layers
        decisions = []
        for i in range(layers):
            shape = {"filter_height": filter_heights, "filter_width": filter_widths}
            if strides is not None:
                shape |= {"stride_height": strides, "stride_width": strides}
            shape["filters"] = filters
            for name, choices in shape.items():
                decisions.append(Decision(f"layer{i}/{name}", tuple(choices), node=i))
            for j in range(i):
                decisions.append(
                    Decision(f"layer{i}/skip{j}", (False, True), node=i, anchors=(None, j))
                )
        self.decisions = tuple(decisions)

    def inputs(self, arch: Arch) -> list[list[int]]:
        """The layers that feed each layer, and last those that feed the classifier.

        A layer that nobody feeds reads the image; what nobody consumes goes to the classifier.
        """
        chosen = self.decode(arch)
        feeds = [
            [j for j in range(i) if chosen[f"layer{i}/skip{j}"]] or [IMAGE]
            for i in range(self.layers)
        ]
        consumed = {j for layer in feeds for j in layer}
        return [*feeds, [i for i in range(self.layers) if i not in consumed]]

    def _shapes(self, arch: Arch, skeleton: ImageSkeleton) -> list[dict]:
        """Of each layer: kernel, strides, filters and the height and width it gives."""
        chosen = self.decode(arch)
        sizes = {IMAGE: skeleton.image_shape[:2]}
        shapes = []
        for i, feeds in enumerate(self.inputs(arch)[:-1]):
            height = max(sizes[j][0] for j in feeds)
            width = max(sizes[j][1] for j in feeds)
            strides = (
                chosen.get(f"layer{i}/stride_height", 1),
                chosen.get(f"layer{i}/stride_width", 1),
            )
            sizes[i] = (math.ceil(height / strides[0]), math.ceil(width / strides[1]))
            shapes.append(
                {
                    "kernel": (chosen[f"layer{i}/filter_height"], chosen[f"layer{i}/filter_width"]),
                    "strides": strides,
                    "filters": max(1, round(chosen[f"layer{i}/filters"] * skeleton.width)),
                    "size": sizes[i],
                }
            )
        return shapes

    def cost(self, arch: Arch, skeleton: ImageSkeleton) -> Cost:
        shapes, feeds = self._shapes(arch, skeleton), self.inputs(arch)
        channels = {IMAGE: skeleton.image_shape[2]}
        parameters = flops = activations = 0
        for i, shape in enumerate(shapes):
            channels[i] = shape["filters"]
            weights = math.prod(shape["kernel"]) * sum(channels[j] for j in feeds[i]) * channels[i]
            positions = math.prod(shape["size"])
            parameters += weights + 2 * channels[i]  # batch norm: scale and shift
            flops += weights * positions
            activations += 3 * positions * channels[i]  # after convolution, batch norm and ReLU
        head = sum(channels[j] for j in feeds[-1]) * skeleton.classes
        return Cost(parameters + head + skeleton.classes, flops + head, activations)

    def graph(self, arch: Arch) -> Graph:
        chosen, feeds = self.decode(arch), self.inputs(arch)
        nodes = [("image", "image", "input")]
        edges = []
        name = {IMAGE: "image"} | {i: f"layer{i}" for i in range(self.layers)}
        for i in range(self.layers):
            height, width = chosen[f"layer{i}/filter_height"], chosen[f"layer{i}/filter_width"]
            label = f"{height}x{width}, {chosen[f'layer{i}/filters']}"
            nodes.append((name[i], label, "conv"))
            edges += [(name[j], name[i]) for j in feeds[i]]
        nodes.append(("classes", "classifier", "output"))
        edges += [(name[j], "classes") for j in feeds[-1]]
        return Graph(tuple(nodes), tuple(edges))

    def build(self, arch: Arch, skeleton: ImageSkeleton):
        """images [batch, height, width, channels] float32 -> logits [batch, classes] float32."""
        import keras
        from keras import layers

        feeds = self.inputs(arch)
        outputs = {IMAGE: keras.Input(skeleton.image_shape)}
        for i, shape in enumerate(self._shapes(arch, skeleton)):
            x = _join([outputs[j] for j in feeds[i]])
            x = layers.Conv2D(
                shape["filters"],
                shape["kernel"],
                shape["strides"],
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
            )(x)
            outputs[i] = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.GlobalAveragePooling2D()(_join([outputs[j] for j in feeds[-1]]))
        if skeleton.dropout:
            x = layers.Dropout(skeleton.dropout)(x)
        logits = layers.Dense(skeleton.classes, dtype="float32")(x)
        return keras.Model(outputs[IMAGE], logits)


def _join(tensors: list):
    """[batch, height, width, channels] each; the smaller padded with zeros, then concatenated."""
    from keras import layers

    if len(tensors) == 1:
        return tensors[0]
    height = max(t.shape[1] for t in tensors)
    width = max(t.shape[2] for t in tensors)
    padded = [
        t
        if t.shape[1:3] == (height, width)
        else layers.ZeroPadding2D(((0, height - t.shape[1]), (0, width - t.shape[2])))(t)
        for t in tensors
    ]
    return layers.Concatenate()(padded)
