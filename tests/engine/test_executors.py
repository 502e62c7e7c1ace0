"""Where trials run: every way of failing is one trial of its status, and the search goes on."""

import concurrent.futures
import functools
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import psutil
import pytest

from nas.controllers.random_search import RandomSearch
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Cost, Decision, Space
from nas.core.trial import (
    CRASHED,
    INVALID,
    NAN,
    OK,
    OOM,
    TIMEOUT,
    ConfigError,
    EvaluationError,
    Proposal,
)
from nas.engine.executors import ProcessExecutor, SerialExecutor, classify, completed, in_flight
from nas.engine.search import search
from nas.engine.store import Unsaved
from nas.evaluators.scratch import TrainFromScratch
from nas.search_spaces.image_space import ImageSpace
from nas.training.recipe import Recipe
from tests.helpers import small_images


class Bits(Space):
    decisions = tuple(Decision(f"bit{i}", (0, 1)) for i in range(8))


class ResourceExhaustedError(Exception):
    """Has the name of TensorFlow's error, which is what an executor goes by."""


class Unsendable(Exception):
    def __reduce__(self):
        raise TypeError("cannot be pickled")


def evaluate(trial_id, proposal):
    """One way of failing a trial, by its id; the last ones succeed."""
    if trial_id == 0:
        return {"score": float("nan")}
    if trial_id == 1:
        raise ValueError("two\nlines")
    if trial_id == 2:
        raise MemoryError
    if trial_id == 3:
        raise ResourceExhaustedError("of shape [9999]")
    if trial_id == 4:
        raise EvaluationError(INVALID, "cannot be built: no output")
    if trial_id == 5:
        raise Unsendable("a device")
    return {"score": 1.0, "pid": os.getpid()}


IN_ANY_PROCESS = {
    0: (NAN, "the reward is nan"),
    1: (CRASHED, "ValueError: two lines"),
    2: (OOM, "MemoryError: "),
    3: (OOM, "ResourceExhaustedError: of shape [9999]"),
    4: (INVALID, "cannot be built: no output"),
    5: (CRASHED, "Unsendable: a device"),
}


def hard(trial_id, proposal):
    """What only a worker of its own survives."""
    if trial_id == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if trial_id == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if trial_id == 3:
        os._exit(7)
    if trial_id == 4:
        time.sleep(600)
    if trial_id == 5:
        return {"score": 1.0, "what": lambda: "cannot be kept"}
    if trial_id == 6:
        sys.exit(7)
    return {"score": 1.0, "pid": os.getpid()}


IN_A_WORKER = {
    1: (CRASHED, "the worker was killed by signal 9 (often the kernel, out of memory)"),
    2: (CRASHED, "the worker was killed by signal 11"),
    3: (CRASHED, "the worker ended by itself with status 7"),
    4: (TIMEOUT, "took longer than executor.timeout=4.0 s"),
    5: (CRASHED, "the metric what must be a number, a text, a list or a dict, got function"),
    6: (CRASHED, "SystemExit: 7"),
}


def score(metrics):
    return metrics["score"]


def run(evaluate, executor, max_trials):
    controller = RandomSearch(Bits(), seed=0)
    with executor:
        return search(
            controller, evaluate, score, Unsaved(), executor, max_trials=max_trials, max_failures=9
        )


def check(trials, expected):
    for trial in trials:
        status, reason = expected.get(trial.id, (OK, ""))
        assert (trial.status, trial.reason[: len(reason)]) == (status, reason)
        assert (trial.reward is None) == (status != OK)
        assert "\n" not in trial.reason


@pytest.mark.parametrize("make", [SerialExecutor, ProcessExecutor])
def test_each_failure_is_one_trial_with_its_reason_and_the_search_ends(make):
    trials = run(evaluate, make(), 9)
    assert [trial.id for trial in trials] == list(range(9))
    check(trials, IN_ANY_PROCESS)


def test_a_worker_that_dies_or_hangs_costs_its_own_trial_alone():
    trials = run(hard, ProcessExecutor(workers=2, timeout=4.0), 9)
    assert [trial.id for trial in trials] == list(range(9))
    check(trials, IN_A_WORKER)


def test_two_workers_work_at_once_and_are_replaced_after_so_many_trials():
    trials = run(meeting, ProcessExecutor(workers=2, recycle_after=3), 12)
    calls = [trial.metrics["pid"] for trial in trials]
    assert all(trial.status == OK for trial in trials)
    assert all(calls.count(pid) <= 3 for pid in calls)
    assert 4 <= len(set(calls)) <= 6  # each of two slots had its share, in threes


def meeting(trial_id, proposal):
    time.sleep(0.05)
    return {"score": 1.0, "pid": os.getpid()}


def test_a_worker_has_one_thread_setting():
    with ProcessExecutor(workers=1, threads_per_worker=3) as executor:
        found = executor.submit(environment).result()
    assert set(found.values()) == {"3"} and "OMP_NUM_THREADS" in found


def environment():
    return {name: value for name, value in os.environ.items() if name.endswith("_THREADS")}


def test_a_function_is_sent_once_to_each_worker():
    with ProcessExecutor(workers=1) as executor:
        counter = functools.partial(count, [])
        assert [executor.submit(counter).result() for _ in range(3)] == [1, 2, 3]
        other = functools.partial(count, [])
        assert executor.submit(other).result() == 1


def count(calls):
    calls.append(None)
    return len(calls)


class Unloadable:
    def __init__(self, where):
        self.where = where

    def __call__(self):
        return 1

    def __reduce__(self):
        return fail, (f"no {self.where} here",)


def fail(reason):
    raise ImportError(reason)


def test_a_function_that_a_worker_cannot_load_says_why_each_time():
    with ProcessExecutor(workers=1) as executor:
        wrong = Unloadable("module")
        for _ in range(2):
            with pytest.raises(EvaluationError, match="ImportError: no module here"):
                executor.submit(wrong).result()


def test_what_cannot_be_sent_is_one_failure():
    with ProcessExecutor(workers=1) as executor:
        with pytest.raises(EvaluationError, match="cannot be sent to a worker: .*lambda"):
            executor.submit(lambda: 1).result()
        assert executor.submit(os.getppid).result() == os.getpid()


def test_no_worker_to_be_had_is_a_failure_not_a_standstill(monkeypatch):
    def refuse(threads):
        raise OSError("Resource temporarily unavailable")

    monkeypatch.setattr("nas.engine.executors._Worker", refuse)
    with ProcessExecutor(workers=1) as executor:
        future = executor.submit(os.getpid)
        with pytest.raises(EvaluationError, match="no worker could be started: Resource"):
            future.result(timeout=10)


def has_a_worker():
    with ProcessExecutor(workers=1) as executor:
        return executor.submit(os.getppid).result() == os.getpid()


def test_a_joblib_process_can_have_workers():
    """Its way of starting processes is its own, and unknown to them."""
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(has_a_worker)() for _ in range(2)) == [True] * 2


def test_after_an_error_nobody_waits_for_a_worker():
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), ProcessExecutor(workers=1) as executor:
        running, queued = executor.submit(time.sleep, 600), executor.submit(time.sleep, 600)
        while not running.running():
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert time.monotonic() - start < 60
    assert queued.cancelled() and isinstance(running.exception(), EvaluationError)
    with pytest.raises(RuntimeError, match="submit after shutdown"):
        executor.submit(os.getpid)


PARENT = """
import sys, time
from nas.engine.executors import ProcessExecutor
if __name__ == "__main__":
    import os
    executor = ProcessExecutor(workers=2)
    futures = [executor.submit(os.getpid) for _ in range(2)]
    busy = [executor.submit(time.sleep, 600) for _ in range(2)]
    print(*{future.result() for future in futures}, flush=True)
    time.sleep(600)
"""


def test_workers_die_with_their_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env=environment, text=True
    )
    parent.stdout.readline()
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= 2
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []


class Unbuildable(Bits, ImageSpace):
    """Fails where its first decision says: before, or as Keras builds."""

    def cost(self, arch, skeleton):
        if arch[0]:
            raise ValueError("a size of 0\nafter the second pooling")
        return Cost(1, 1, 1)

    def build(self, arch, skeleton):
        if arch[1]:
            raise MemoryError("no room")
        raise ValueError("Negative dimension size")


@pytest.mark.parametrize(
    "arch, status, reason",
    [
        ((1, 0), INVALID, "cannot be built: a size of 0 after the second pooling"),
        ((0, 0), INVALID, "cannot be built: Negative dimension size"),
        ((0, 1), OOM, "MemoryError: no room"),
    ],
)
def test_what_cannot_be_built_is_invalid(arch, status, reason):
    evaluator = TrainFromScratch(
        space=Unbuildable(),
        dataset=lambda: small_images.make(*small_images.some()),
        skeleton=ImageSkeleton,
        recipe=Recipe(epochs=1),
        seed=0,
    )
    error = SerialExecutor().submit(evaluator, 0, Proposal(arch)).exception()
    assert error.status == status and error.reason.startswith(reason)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"workers": 0}, "executor.workers must be at least 1, got 0"),
        ({"recycle_after": 0}, "executor.recycle_after must be at least 1, got 0"),
        ({"threads_per_worker": -1}, "executor.threads_per_worker must be at least 1, got -1"),
        ({"timeout": 0}, "executor.timeout must be positive seconds or null, got 0"),
    ],
)
def test_wrong_settings_are_told(settings, message):
    with pytest.raises(ConfigError, match=message):
        ProcessExecutor(**settings)


def test_a_failure_keeps_its_name_between_processes():
    error = EvaluationError(TIMEOUT, "too slow")
    again = pickle.loads(pickle.dumps(error))
    assert (again.status, again.reason) == (TIMEOUT, "too slow")
    assert classify(error) is error
    assert len(classify(ValueError("x" * 1000)).reason) < 400


def test_serial_work_is_done_when_it_is_submitted():
    future = SerialExecutor().submit(os.getpid)
    assert future.done() and future.result() == os.getpid()
    assert isinstance(future, concurrent.futures.Future)


class Counting(concurrent.futures.ThreadPoolExecutor):
    """Two threads, and how many calls were handed out and not yet collected."""

    workers = 2

    def __init__(self):
        super().__init__(self.workers)
        self.submitted = 0

    def submit(self, fn, /, *args):
        self.submitted += 1
        return super().submit(fn, *args)


def test_calls_are_handed_out_only_as_far_as_they_keep_the_workers_busy():
    with Counting() as executor:
        results = {}
        calls = ((i, (i, 2)) for i in range(20))
        for collected, (key, future) in enumerate(completed(executor, pow, calls), 1):
            results[key] = future.result()
            assert executor.submitted <= collected + in_flight(executor)
    assert results == {i: i**2 for i in range(20)}


def test_a_single_worker_gets_the_next_call_when_the_last_is_collected():
    begun = []
    for key, _ in completed(SerialExecutor(), begun.append, ((i, (i,)) for i in range(4))):
        assert begun == list(range(key + 1))
    assert begun == [0, 1, 2, 3]
