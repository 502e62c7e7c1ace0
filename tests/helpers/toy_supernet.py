"""A space of two decisions with a supernet that is traced in a second."""

from nas.core.space import Decision
from nas.search_spaces.image_space import ImageSpace

OPERATIONS = ("none", "skip_connect", "conv_3x3", "max_pool_3x3")


class Toy(ImageSpace):
    """A stem, two layers of one operation each, a classifier."""

    decisions = (Decision("first", OPERATIONS, node=0), Decision("second", OPERATIONS[1:], node=1))

    def __init__(self, mutation="edge"):
        """mutation: the setting of conf/space/nasbench201.yaml, in whose place Toy is chosen."""

    def network(self, ops, arch, skeleton):
        x = ops.batch_norm(ops.conv(ops.image(), skeleton.channels, (3, 3), name="stem"), name="bn")
        for i, (d, choice) in enumerate(zip(self.decisions, arch, strict=True)):
            x = ops.add([x, operation(ops, x, d.choices[choice], f"layer{i}")])
        return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout)

    def supernet(self, skeleton):
        from nas.search_spaces.supernet.supernet import Supernet

        def write(ops):
            x = ops.conv(ops.image(), skeleton.channels, (3, 3), name="stem")
            x = ops.batch_norm(x, name="bn")
            for i, d in enumerate(self.decisions):
                ways = [lambda c=c, x=x, i=i: operation(ops, x, c, f"layer{i}") for c in d.choices]
                x = ops.add([x, ops.choose(i, ways)])
            return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout)

        return Supernet(self, skeleton, write)

    def flat_supernet(self, skeleton):
        from nas.search_spaces.supernet.flat import FlatSupernet

        return FlatSupernet(self.supernet(skeleton))


def operation(ops, x, choice, name):
    if choice == "none":
        return ops.zeros(x)
    if choice == "skip_connect":
        return x
    if choice == "max_pool_3x3":
        return ops.max_pool(x, 3, strides=1)
    x = ops.conv(ops.relu(x), ops.shape(x)[2], (3, 3), name=f"{name}_conv")
    return ops.batch_norm(x, name=f"{name}_bn")
