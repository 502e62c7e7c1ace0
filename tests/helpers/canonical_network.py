"""What a network computes, as one number: equal for networks that differ in names alone."""

from nas.core.skeleton import ImageSkeleton
from nas.ops.count import CountOps


class TermOps:
    """Tensors are (shape, hash of all that led to it); sums have no order.

    A tensor that is read twice and two that are made alike are the same here: the parameters tell
    them apart, if there are any.
    """

    ordered_concatenation = False

    def __init__(self, image_shape):
        self.count = CountOps(image_shape)

    def image(self):
        return self._made(self.count.image(), "image", ())

    def shape(self, x):
        return x[0]

    def add(self, inputs):
        return self._joined(inputs, "add", ordered=False)

    def average(self, inputs):
        return self._joined(inputs, "average", ordered=False)

    def concatenate(self, inputs):
        return self._joined(inputs, "concatenate", ordered=self.ordered_concatenation)

    def drop_path(self, x, rate):
        return x

    def auxiliary(self, head):
        pass

    def __getattr__(self, operation):
        count = getattr(self.count, operation)

        def call(x, *args, **settings):
            said = [item for item in settings.items() if item[0] != "name"]
            return self._made(count(x[0], *args, **settings), (operation, args, *said), (x[1],))

        return call

    def _joined(self, inputs, what, *, ordered):
        if len(inputs) == 1:
            return inputs[0]
        shape = getattr(self.count, what)([x[0] for x in inputs])
        terms = [x[1] for x in inputs]
        return self._made(shape, what, terms if ordered else sorted(terms))

    def _made(self, shape, what, terms):
        return shape, hash((str(what), *terms))


class OrderedTermOps(TermOps):
    ordered_concatenation = True


def term(space, arch, skeleton: ImageSkeleton, ops=TermOps) -> tuple[int, int]:
    """The hash of the logits, and the parameters."""
    made = ops(skeleton.image_shape)
    logits = space.network(made, arch, skeleton)
    return logits[1], made.count.parameters
