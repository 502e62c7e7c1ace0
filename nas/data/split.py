"""Splits examples in two by their content: equal ones stay together, the classes are balanced.

* A split depends neither on a seed nor on the order of a file. If examples are added, most of the
  others stay on their side.
* Equal examples are a group, and a group is on one side. Otherwise what is trained on is validated.
* Each class has its share of the part, by largest remainders. Every class keeps an example in the
  rest, so that it is trained; two classes are in the part, if it has room for two.
* A group that is too large for that (`LARGEST_SHARE`) is divided, each of its classes by its share:
  a score then says how often its commonest label is right.

Numbers instead of classes are balanced in ranges of equally many examples, at most `BINS`.
"""

import hashlib

import numpy as np

LARGEST_SHARE = 0.25  # of the part: a larger group is divided, if it has more than FEW examples
FEW = 5
BINS = 10


def balanced_split(
    examples: np.ndarray, labels: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Selects about `size` examples; exactly so many if no two examples are equal.

    Args:
      examples: [n, ...]; equal bytes are equal examples.
      labels: [n], class numbers from 0 (integers), or numbers (floats).
      size: at most n - 1.

    Returns: (rest, part), positions in the order of the examples' hashes.
    """
    hashes = content_hashes(examples)
    is_number = labels.dtype.kind == "f"
    ties = content_hashes(labels[:, None]) if is_number else labels
    order = np.lexsort((ties, hashes))
    classes = (_ranges(labels, min(BINS, size)) if is_number else labels)[order]
    groups = np.unique(hashes[order], return_inverse=True)[1]
    selected = _Selection(groups, classes, size).run()
    return order[~selected], order[selected]


def in_turn(labels: np.ndarray) -> np.ndarray:
    """Positions in an order in which every beginning has the classes in their shares.

    The first of each class come first. labels: [n] class numbers.

    >>> in_turn(np.array([0, 0, 0, 0, 1, 1])).tolist()
    [0, 4, 1, 2, 5, 3]
    """
    counts = np.bincount(labels)
    by_class = np.argsort(labels, kind="stable")
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(labels))
    rank[by_class] = np.arange(len(labels)) - np.repeat(starts, counts)
    return np.argsort(rank / counts[labels], kind="stable")


def apportion(size: int, counts: np.ndarray, most: np.ndarray) -> np.ndarray:
    """`size` seats in proportion to `counts`, by largest remainders; at most `most` each.

    >>> apportion(5, np.array([70, 25, 5]), np.array([69, 24, 4])).tolist()
    [4, 1, 0]
    """
    quotas = size * counts.astype(object)  # Python's integers: exact
    total = max(1, int(counts.sum()))
    seats = np.minimum((quotas // total).astype(np.int64), most)
    by_remainder = sorted(range(len(counts)), key=lambda i: -(quotas[i] % total))
    while (left := min(size, int(most.sum())) - int(seats.sum())) > 0:
        with_room = [i for i in by_remainder if seats[i] < most[i]]
        seats[with_room[:left]] += 1
    return seats


def content_hashes(examples: np.ndarray) -> np.ndarray:
    """[n, ...] -> [n] uint64, blake2b of each example's bytes; -0.0 counts as 0.0."""
    if examples.dtype.kind == "f":
        examples = examples + examples.dtype.type(0)
    digests = (hashlib.blake2b(example.tobytes(), digest_size=8).digest() for example in examples)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def _ranges(numbers: np.ndarray, count: int) -> np.ndarray:
    """The range of each number, [n] integers from 0."""
    edges = np.unique(np.quantile(numbers, np.arange(1, count) / max(1, count)))
    return np.unique(np.searchsorted(edges, numbers), return_inverse=True)[1]


class _Selection:
    """The selection of one part.

    Args:
      groups: [n] numbers of the groups from 0, ascending.
      classes: [n] numbers from 0.
    """

    def __init__(self, groups: np.ndarray, classes: np.ndarray, size: int):
        self.classes, self.size = classes, size
        self.counts = np.bincount(classes)
        self.seats = _seats(size, self.counts)
        self.starts = np.flatnonzero(np.diff(groups, prepend=-1))  # of each group
        self.sizes = np.diff(self.starts, append=len(groups))
        self.selected = np.zeros(len(groups), bool)
        self.taken = np.zeros_like(self.counts)  # of each class

    def run(self) -> np.ndarray:
        """[n] bool, whether an example is in the part."""
        large = self.sizes > max(FEW, LARGEST_SHARE * self.size)
        several = ~large & (self.sizes > 1)
        cells = [cell for group in np.flatnonzero(large).tolist() for cell in self._cells(group)]
        in_groups = np.repeat(several, self.sizes)
        alone = np.repeat(self.sizes == 1, self.sizes)
        goal = self._divide(cells, np.bincount(self.classes[in_groups], minlength=len(self.counts)))
        self._take_groups(np.flatnonzero(several).tolist(), self.taken + goal)
        for c in range(len(self.counts)):
            if short := self._short(c):
                self._take(np.flatnonzero(alone & (self.classes == c))[:short])
        for c in np.flatnonzero((self.seats > 0) & (self.taken == 0)).tolist():
            self._take_one_of(c)
        return self.selected

    def _divide(self, cells: list[np.ndarray], in_groups: np.ndarray) -> np.ndarray:
        """Takes from the cells of large groups their share of their class' seats.

        in_groups: how many examples of each class are in the other groups of several. Returns their
        share of the seats, by class.
        """
        goal = np.zeros_like(self.counts)
        of_class: dict[int, list[np.ndarray]] = {}
        for cell in cells:
            of_class.setdefault(int(self.classes[cell[0]]), []).append(cell)
        for c in range(len(self.counts)):
            own = of_class.get(c, [])
            held = [len(cell) for cell in own]
            alone = self.counts[c] - in_groups[c] - sum(held)
            sizes = np.array([*held, in_groups[c], alone], np.int64)
            most = np.array([*(size - 1 for size in held), in_groups[c], alone], np.int64)
            seats = apportion(int(self.seats[c]), sizes, most)
            for cell, count in zip(own, seats, strict=False):
                self._take(cell[:count])
            goal[c] = seats[-2]
        return goal

    def _take_groups(self, groups: list[int], goal: np.ndarray) -> None:
        """Takes each group that brings the classes nearer to the goal and leaves one of each."""
        for group in groups:
            rows = self._rows(group)
            with_it = self.taken + np.bincount(self.classes[rows], minlength=len(goal))
            nearer = np.abs(with_it - goal).sum() < np.abs(self.taken - goal).sum()
            if nearer and self._leaves_one(with_it):
                self._take(rows)

    def _take_one_of(self, c: int) -> None:
        """Takes a group for a class that has seats and no example in the part.

        Only if all are too large, one is divided: the largest.
        """
        number = np.repeat(np.arange(len(self.sizes)), self.sizes)
        has = np.unique(number[(self.classes == c) & ~self.selected])
        for group in has[np.argsort(self.sizes[has], kind="stable")]:
            rows = self._rows(group)
            with_it = self.taken + np.bincount(self.classes[rows], minlength=len(self.taken))
            if len(rows) <= 2 * self.seats[c] and self._leaves_one(with_it):
                self._take(rows)
                return
        rows = self._rows(has[np.argmax(self.sizes[has])])
        self._take(rows[self.classes[rows] == c][: self.seats[c]])

    def _cells(self, group: int) -> list[np.ndarray]:
        """The rows of each class in a group."""
        rows = self._rows(group)
        return [rows[self.classes[rows] == c] for c in np.unique(self.classes[rows])]

    def _rows(self, group: int) -> np.ndarray:
        return np.arange(self.starts[group], self.starts[group] + self.sizes[group])

    def _take(self, rows: np.ndarray) -> None:
        self.selected[rows] = True
        self.taken += np.bincount(self.classes[rows], minlength=len(self.taken))

    def _short(self, c: int) -> int:
        return max(0, int(self.seats[c] - self.taken[c]))

    def _leaves_one(self, taken: np.ndarray) -> bool:
        return bool(((taken < self.counts) | (self.counts == 0)).all())


def _seats(size: int, counts: np.ndarray) -> np.ndarray:
    """How many examples of each class are selected."""
    most = np.maximum(counts - 1, 0)
    seats = apportion(size, counts, most)
    others = np.where((seats == 0) & (most > 0), counts, 0)
    if np.count_nonzero(seats) == 1 and size > 1 and others.any():
        seats[np.argmax(seats)] -= 1
        seats[np.argmax(others)] += 1
    return seats
