"""Measures a step of the recurrent supernet against the same random cells built statically.

    python scripts/bench/recurrent_supernet.py                 enas_lm's search: 128 x 35, 200 units
    python scripts/bench/recurrent_supernet.py --space enas_rnn --words 80
    python scripts/bench/recurrent_supernet.py --clock cpu     on a machine that others use as well

Both sides do a whole training step (dropouts, softmax, regularisation, clipping, weight decay) on
one text, --steps steps a call, in turns whose order alternates. The time of a side is that of its
fastest call, because other users of the machine only ever add time. The supernet must not be traced
again after its first step. The script prints each ratio, their geometric mean and largest, and the
first call of both sides, which traces.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import math
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.data.text import TextData
from nas.language.graph import Training
from nas.language.loop import build
from nas.language.recipe import LanguageRecipe
from nas.oneshot.text_weights import TextWeights
from nas.search_spaces.papers.highway_cells.space import RecurrentNodes
from nas.training import devices

SPACES = {
    "enas_lm": lambda: RecurrentNodes(shared="function", normalised=False),
    "enas_rnn": lambda: RecurrentNodes(
        nodes=11, first=None, average="loose", shared="edge", normalised=False
    ),
}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    args = arguments()
    devices.prepare()
    space, rng = SPACES[args.space](), np.random.default_rng(args.seed)
    tokens = rng.integers(0, args.words, args.batch * (args.steps * args.bptt + 2), dtype=np.int32)
    data = TextData(
        name="random", train=tokens, valid=tokens, test=tokens,
        words=tuple(map(str, range(args.words))),
    )  # fmt: skip
    recipe = LanguageRecipe(
        epochs=100, batch_size=args.batch, bptt=args.bptt, random_bptt=not args.fixed,
        learning_rate=1.0, clip_norm=0.1, weight_decay=8e-7, sum_over_time=False, slowness=1.0,
    )  # fmt: skip
    skeleton = LanguageSkeleton(
        vocabulary=args.words, units=args.units, embedding=args.units, layers=1, tied=True,
        softmax_bias=False, init=0.04, variational=True, dropout_word=0.1, dropout_input=0.2,
        dropout_output=0.75, dropout_cell_input=0.75, dropout_cell_state=0.25,
    )  # fmt: skip
    shared = TextWeights(space, skeleton, data, recipe, seed=0)
    starts, lengths = np.arange(args.steps) * args.bptt, np.full(args.steps, args.bptt)
    order, rates = np.stack([starts, lengths], 1), np.full(args.steps, 0.01, np.float32)

    def train(arch):
        shared.train(order, rates, [arch] * args.steps, 0)

    first = clocked(time.perf_counter, lambda: train(space.sample(rng)))
    print(f"supernet: first call {first:.1f} s, of which most is the trace")
    print(f"{'static':>9} {'supernet':>9}  ratio  static trace   architecture (ms a step)")
    ratios = []
    for _ in range(args.archs):
        arch = space.sample(rng)
        model = build(lambda arch=arch: space.build(arch, skeleton), 0)
        training = Training(model, data.train, recipe, 0)
        zeros, noise = model.zero_states(args.batch), tf.constant([1, 2])
        inputs = [tf.constant(a, tf.int32) for a in (starts, lengths)] + [tf.constant(rates)]

        def static(training=training, zeros=zeros, inputs=inputs, noise=noise):
            return float(training._traced(zeros, *inputs, tf.constant(0), noise)[1])

        begun = clocked(time.perf_counter, static)
        ways = {"static": static, "supernet": lambda arch=arch: train(arch)}
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(args.repeats):
            for way in list(ways)[:: 1 if turn % 2 else -1]:
                taken[way].append(clocked(CLOCKS[args.clock], ways[way]) / args.steps)
        alone, supernet = (1000 * min(taken[way]) for way in ways)
        ratios.append(supernet / alone)
        named = " ".join(map(str, arch))
        print(
            f"{alone:9.1f} {supernet:9.1f}  {ratios[-1]:5.3f}  {begun:8.1f} s   {named}", flush=True
        )
        keras.backend.clear_session()
    traces = shared.epoch_graph.experimental_get_tracing_count()
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    print(f"ratio: geometric mean {mean:.3f}, largest {max(ratios):.3f}; bar 1.1; traces {traces}")


def clocked(clock, call) -> float:
    start = clock()
    call()
    return clock() - start


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--space", choices=SPACES, default="enas_lm")
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--words", type=int, default=10000)
    parser.add_argument("--batch", type=int, default=128, help="streams")
    parser.add_argument("--bptt", type=int, default=35, help="tokens of a sequence")
    parser.add_argument("--fixed", action="store_true", help="the length is known: no loop over it")
    parser.add_argument("--steps", type=int, default=2, help="of a call")
    parser.add_argument("--archs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=6, help="calls of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="seconds of all cores: cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
