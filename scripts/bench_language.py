"""Tokens a second of Zaremba et al.'s LSTMs: this loop and Keras' own, side by side.

    python scripts/bench_language.py [--size small] [--sequences 100] [--rounds 5]

Both train the same sizes on the same tokens with SGD and clipped gradients, states carried: ours,
and keras.layers.LSTM(stateful=True) in keras.Model.fit; PyTorch's nn.LSTM in a plain loop too where
torch is installed. The rounds take turns, so that what else the machine does falls on all; printed
are the best round, the median and the share of the machine's measured float32 product peak. CPU
time is nearly the same on a busy machine as on an idle one.
"""

import argparse
import importlib.util
import time

import numpy as np

from nas.quiet import hush

hush()

SIZES = {"small": (200, 20), "medium": (650, 35), "large": (1500, 35)}  # units, steps
WORDS, BATCH, CLIP = 10_000, 20, 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--sequences", type=int, default=100, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    units, steps = SIZES[args.size]
    count = BATCH * (args.sequences * steps + 1)
    # Words as frequent as in a text, after Zipf's law: repeated ones cost the embedding less.
    rates = 1 / np.arange(1, WORDS + 1)
    tokens = np.random.default_rng(0).choice(WORDS, count, p=rates / rates.sum()).astype(np.int32)
    runs = {"nas": ours(tokens, units, steps), "keras": keras_fit(tokens, units, steps)}
    if importlib.util.find_spec("torch"):
        runs["torch"] = torch_loop(tokens, units, steps)
    for run in runs.values():
        run()  # traces, compiles, warms up
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            start, used = time.perf_counter(), time.process_time()
            run()
            cpu[name].append(time.process_time() - used)
            seconds[name].append(time.perf_counter() - start)
    trained = args.sequences * steps * BATCH
    # Multiply-adds forward: two layers of [inputs + state, 4 units], the softmax; thrice in all.
    flops = 3 * 2 * (2 * 2 * units * 4 * units + units * WORDS)
    peak = product_peak()
    print(
        f"{args.size}: {trained} tokens a round, {args.rounds} rounds, peak {peak / 1e9:.0f} GF/s"
    )
    for name, times in seconds.items():
        best, middle = trained / min(times), trained / float(np.median(times))
        ratio = np.median(np.array(times) / np.array(seconds["nas"]))
        print(
            f"  {name:6}{best:9.0f} tokens/s at best, {middle:9.0f} in the median; "
            f"{best * flops / peak:.0%} of peak; nas is {ratio:.2f} times as fast "
            f"({np.median(cpu[name]) / np.median(cpu['nas']):.2f} by CPU time)"
        )


def ours(tokens, units: int, steps: int):
    from nas.language_graph import Training
    from nas.language_recipe import LanguageRecipe
    from nas.language_skeleton import LanguageSkeleton
    from search_spaces.language_model import LanguageModel
    from search_spaces.recurrent import LSTM

    model = LanguageModel(LSTM, LanguageSkeleton(vocabulary=WORDS, units=units, embedding=units))
    recipe = LanguageRecipe(batch_size=BATCH, bptt=steps, clip_norm=CLIP)
    training = Training(model, tokens, recipe, 0)
    return lambda: training.epoch(0)


def keras_fit(tokens, units: int, steps: int):
    import keras
    import tensorflow as tf

    words = keras.Input(batch_shape=(BATCH, steps), dtype="int32")
    x = keras.layers.Embedding(WORDS, units)(words)
    for _ in range(2):
        x = keras.layers.LSTM(units, return_sequences=True, stateful=True)(x)
    model = keras.Model(words, keras.layers.Dense(WORDS)(x))
    model.compile(
        keras.optimizers.SGD(1.0, global_clipnorm=CLIP),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=20,
    )
    streams = tokens.reshape(BATCH, -1)
    count = (streams.shape[1] - 1) // steps

    def sequences(a):
        return a[:, : count * steps].reshape(BATCH, count, steps).swapaxes(0, 1)

    data = tf.data.Dataset.from_tensor_slices(
        (sequences(streams[:, :-1]), sequences(streams[:, 1:]))
    )
    return lambda: model.fit(data, epochs=1, verbose=0, shuffle=False)


def torch_loop(tokens, units: int, steps: int):
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(WORDS, units)
            self.lstm = torch.nn.LSTM(units, units, 2)
            self.softmax = torch.nn.Linear(units, WORDS)

        def forward(self, x, states):
            outputs, states = self.lstm(self.embedding(x), states)
            return self.softmax(outputs), states

    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    streams = torch.from_numpy(tokens.reshape(BATCH, -1).T.astype(np.int64)).contiguous()

    def run():
        states = (torch.zeros(2, BATCH, units), torch.zeros(2, BATCH, units))
        for at in range(0, len(streams) - 1, steps):
            optimizer.zero_grad()
            logits, states = model(streams[at : at + steps], tuple(s.detach() for s in states))
            loss = torch.nn.functional.cross_entropy(
                logits.view(-1, WORDS), streams[at + 1 : at + 1 + steps].view(-1), reduction="sum"
            )
            (loss / BATCH).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()

    return run


def product_peak(size: int = 2048) -> float:
    """The best of several float32 products of [size, size], floating-point operations a second."""
    import tensorflow as tf

    a = tf.random.normal([size, size])
    times = []
    for _ in range(20):
        start = time.perf_counter()
        tf.matmul(a, a).numpy()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


if __name__ == "__main__":
    main()
