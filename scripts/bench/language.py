"""Measures tokens a second of Zaremba et al.'s LSTMs: our loop, Keras' `fit` and PyTorch.

    python scripts/bench/language.py [--torch PYTHON] [--size small] [--sequences 100] [--rounds 5]

All sides train the same sizes on the same tokens with SGD and clipped gradients, and carry the
recurrent state: our loop, keras.layers.LSTM(stateful=True) in keras.Model.fit, and PyTorch's
nn.LSTM in a plain loop. PYTHON belongs to an environment with `pip install torch`. The rounds take
turns, so that other work on the machine slows all sides alike. The script prints the best round,
the median, and the share of the peak of float32 products, which is measured between the rounds. CPU
time is nearly the same on a busy machine as on an idle one.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import subprocess
import tempfile
import time

import numpy as np

from nas.core.tensorflow_log import silence_tensorflow

silence_tensorflow()

SIZES = {"small": (200, 20), "medium": (650, 35), "large": (1500, 35)}  # units, steps
WORDS, BATCH, CLIP = 10_000, 20, 5.0

# A round for every line that it reads; wall and CPU seconds of each are what it prints.
TORCH = """
import sys, time, warnings
warnings.simplefilter("ignore")
import torch

file, words, batch, units, steps, clip = sys.argv[1], *map(float, sys.argv[2:])
words, batch, units, steps = int(words), int(batch), int(units), int(steps)
tokens = torch.frombuffer(bytearray(open(file, "rb").read()), dtype=torch.int32).long()
streams = tokens.view(batch, -1).t().contiguous()

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(words, units)
        self.lstm = torch.nn.LSTM(units, units, 2)
        self.softmax = torch.nn.Linear(units, words)

    def forward(self, x, states):
        outputs, states = self.lstm(self.embedding(x), states)
        return self.softmax(outputs), states

model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
print(torch.__version__, flush=True)
for _ in sys.stdin:
    start, used = time.perf_counter(), time.process_time()
    states = (torch.zeros(2, batch, units), torch.zeros(2, batch, units))
    for at in range(0, len(streams) - 1, steps):
        optimizer.zero_grad()
        logits, states = model(streams[at : at + steps], tuple(s.detach() for s in states))
        loss = torch.nn.functional.cross_entropy(
            logits.view(-1, words), streams[at + 1 : at + 1 + steps].view(-1), reduction="sum"
        )
        (loss / batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    print(time.perf_counter() - start, time.process_time() - used, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", metavar="PYTHON", help="the python of PyTorch's environment")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--sequences", type=int, default=100, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    units, steps = SIZES[args.size]
    count = BATCH * (args.sequences * steps + 1)
    # Words as frequent as in a text, after Zipf's law: repeated ones cost the embedding less.
    rates = 1 / np.arange(1, WORDS + 1)
    tokens = np.random.default_rng(0).choice(WORDS, count, p=rates / rates.sum()).astype(np.int32)
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            "nas": timed(ours(tokens, units, steps)),
            "keras": timed(keras_fit(tokens, units, steps)),
        }
        if args.torch:
            tokens.tofile(f"{folder}/tokens")
            runs["torch"] = torch_loop(args.torch, f"{folder}/tokens", units, steps)
        for run in runs.values():
            run()  # traces, compiles, warms up
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        cpu: dict[str, list[float]] = {name: [] for name in runs}
        peak = product_peak()
        for _ in range(args.rounds):
            for name, run in runs.items():
                wall, used = run()
                seconds[name].append(wall)
                cpu[name].append(used)
            peak = max(peak, product_peak())
    trained = args.sequences * steps * BATCH
    # Multiply-adds forward: two layers of [inputs + state, 4 units], the softmax; thrice in all.
    flops = 3 * 2 * (2 * 2 * units * 4 * units + units * WORDS)
    print(
        f"{args.size}: {trained} tokens a round, {args.rounds} rounds, peak {peak / 1e9:.0f} GF/s"
    )
    for name, times in seconds.items():
        best, middle = trained / min(times), trained / float(np.median(times))
        ratio = np.median(np.array(times) / np.array(seconds["nas"]))
        print(
            f"  {name:6}{best:9.0f} tokens/s at best, {middle:9.0f} in the median; "
            f"{best * flops / peak:.0%} of peak; nas is {ratio:.2f} times as fast, "
            f"{min(times) / min(seconds['nas']):.2f} at best "
            f"({np.median(cpu[name]) / np.median(cpu['nas']):.2f} by CPU time)"
        )


def timed(run):
    """Returns a function that runs it and gives its wall and CPU seconds."""

    def call() -> tuple[float, float]:
        start, used = time.perf_counter(), time.process_time()
        run()
        return time.perf_counter() - start, time.process_time() - used

    return call


def ours(tokens, units: int, steps: int):
    from nas.core.language_skeleton import LanguageSkeleton
    from nas.language.graph import Training
    from nas.language.recipe import LanguageRecipe
    from nas.search_spaces.recurrent.cell import LSTM
    from nas.search_spaces.recurrent.language_model import LanguageModel

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


def torch_loop(python: str, tokens: str, units: int, steps: int):
    """A round is in the other environment's process, which waits meanwhile."""
    command = [python, "-c", TORCH, tokens, *map(str, (WORDS, BATCH, units, steps, CLIP))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(f"PyTorch {_line(process)}")

    def call() -> tuple[float, float]:
        process.stdin.write("again\n")
        process.stdin.flush()
        wall, used = map(float, _line(process).split())
        return wall, used

    return call


def _line(process: subprocess.Popen) -> str:
    line = process.stdout.readline().strip()
    if not line:
        raise SystemExit(f"PyTorch's process has ended with status {process.wait()}")
    return line


def product_peak(size: int = 2048) -> float:
    """The best of several float32 products of [size, size], floating-point operations a second."""
    import tensorflow as tf

    a = tf.random.normal([size, size])
    times = []
    for _ in range(5):
        start = time.perf_counter()
        tf.matmul(a, a).numpy()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


if __name__ == "__main__":
    main()
