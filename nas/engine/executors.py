"""Executors run trials: in this process, or in warm worker processes that are replaced in time.

Every failure of a trial reaches its future as an EvaluationError with a status, so that the search
can go on. `Running` and `completed` hand calls to an executor and collect what has ended.
"""

import collections
import concurrent.futures
import itertools
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from nas.core.files import printable
from nas.core.tensorflow_log import silence_if_configured
from nas.core.trial import CRASHED, OOM, STATUSES, TIMEOUT, ConfigError, EvaluationError

_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")

Key = TypeVar("Key")


class Executor(Protocol):
    """A `concurrent.futures.Executor` that says how many calls it runs at a time."""

    workers: int

    def submit(self, fn: Callable, /, *args: Any) -> concurrent.futures.Future: ...


def in_flight(executor: Executor) -> int:
    """How many calls to hand out at once.

    A queue as long as the workers keeps all of them busy behind one slow call.
    """
    return executor.workers if executor.workers == 1 else 2 * executor.workers


class Running(Generic[Key]):
    """The calls that an executor has not finished, each under a key of its caller's."""

    def __init__(self, executor: Executor):
        self.executor = executor
        self._keys: dict[concurrent.futures.Future, Key] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def submit(self, key: Key, fn: Callable, *args: Any) -> None:
        self._keys[self.executor.submit(fn, *args)] = key

    def finished(self, timeout: float | None = None) -> list[tuple[Key, concurrent.futures.Future]]:
        """The calls that have ended; waits for the first of them.

        timeout: seconds to wait at most; None: as long as it takes.
        """
        first = concurrent.futures.FIRST_COMPLETED
        done, _ = concurrent.futures.wait(self._keys, timeout, return_when=first)
        return [(self._keys.pop(future), future) for future in done]


def completed(
    executor: Executor, fn: Callable, calls: Iterable[tuple[Key, tuple[Any, ...]]]
) -> Iterator[tuple[Key, concurrent.futures.Future]]:
    """Calls `fn` with the arguments of every (key, arguments); gives (key, future) as calls end.

    No more is handed out than keeps the workers busy, so that the caller can save what has ended
    before more is begun.
    """
    queue, running = iter(calls), Running[Key](executor)
    while True:
        for key, args in itertools.islice(queue, in_flight(executor) - len(running)):
            running.submit(key, fn, *args)
        if not running:
            return
        yield from running.finished()


def classify(error: BaseException) -> EvaluationError:
    """Any exception of an evaluation as one of the statuses, with its message on one line."""
    if isinstance(error, EvaluationError):
        if error.status in STATUSES[1:] and error.reason == printable(error.reason):
            return error
        status = error.status if error.status in STATUSES[1:] else CRASHED
        return EvaluationError(status, printable(error.reason), error.seconds)
    name = type(error).__name__
    text = printable(" ".join(str(error).split()))[:300]
    # TensorFlow's error goes by its name: importing its class would import TensorFlow.
    status = OOM if isinstance(error, MemoryError) or name == "ResourceExhaustedError" else CRASHED
    return EvaluationError(status, f"{name}: {text}{_place(error)}")


def _place(error: BaseException) -> str:
    """The innermost line of the traceback that does not lie in an installed package."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename]
    return f" ({Path(ours[-1].filename).name}:{ours[-1].lineno})" if ours else ""


class SerialExecutor(concurrent.futures.Executor):
    """Runs each call as it is submitted, in this process."""

    workers = 1

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> concurrent.futures.Future:
        future: concurrent.futures.Future = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except (Exception, SystemExit) as error:  # a call's sys.exit ends the call alone
            future.set_exception(classify(error))
        return future


class ProcessExecutor(concurrent.futures.Executor):
    """Runs calls in warm worker processes, one call at a time in each.

    Args:
      workers: number of processes.
      recycle_after: number of calls after which a worker is replaced, because each graph that
        TensorFlow traces leaks 3 to 18 MB.
      timeout: seconds after which the worker of a call is killed; None for never.
      threads_per_worker: threads of TensorFlow and BLAS in each worker, so that workers do not
        compete for the cores.

    Raises ConfigError for a number that is too small.
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        recycle_after: int = 50,
        timeout: float | None = None,
        threads_per_worker: int = 1,
    ):
        for name, value in (
            ("workers", workers),
            ("recycle_after", recycle_after),
            ("threads_per_worker", threads_per_worker),
        ):
            if value < 1:
                raise ConfigError(f"executor.{name} must be at least 1, got {value}")
        if timeout is not None and timeout <= 0:
            raise ConfigError(f"executor.timeout must be positive seconds or null, got {timeout}")
        self.workers, self.recycle_after, self.timeout = workers, recycle_after, timeout
        self.threads = threads_per_worker
        self._queue: collections.deque = collections.deque()
        self._changed = threading.Condition()
        self._closed = self._abandoned = False
        self._workers: set[_Worker] = set()
        self._slots = [threading.Thread(target=self._serve, daemon=True) for _ in range(workers)]
        for slot in self._slots:
            slot.start()

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> concurrent.futures.Future:
        future: concurrent.futures.Future = concurrent.futures.Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("submit after shutdown")
            self._queue.append((future, fn, args, kwargs))
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._changed:
            self._closed = True
            while cancel_futures and self._queue:
                self._queue.popleft()[0].cancel()
            self._changed.notify_all()
        if wait:
            for slot in self._slots:
                slot.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the workers; after an error at once, because nobody waits for their answers."""
        if kind is not None:
            with self._changed:
                self._abandoned = True
                for worker in self._workers:
                    worker.process.kill()
        self.shutdown(wait=True, cancel_futures=kind is not None)

    def _serve(self) -> None:
        """The life of a slot's thread: it keeps one worker alive and hands it call after call."""
        worker: _Worker | None = None
        try:
            while True:
                with self._changed:
                    while not self._queue and not self._closed:
                        self._changed.wait()
                    if not self._queue:
                        return
                    future, fn, args, kwargs = self._queue.popleft()
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    worker = worker or self._start()
                    future.set_result(worker.call(fn, args, kwargs, self.timeout))
                except Exception as error:
                    future.set_exception(classify(error))
                if worker and (not worker.alive or worker.calls >= self.recycle_after):
                    self._end(worker)
                    worker = None
        finally:
            if worker is not None:
                self._end(worker)

    def _start(self) -> "_Worker":
        try:
            worker = _Worker(self.threads)
        except OSError as error:
            raise EvaluationError(CRASHED, f"no worker could be started: {error}") from error
        with self._changed:
            self._workers.add(worker)
            if self._abandoned:
                worker.process.kill()
        return worker

    def _end(self, worker: "_Worker") -> None:
        with self._changed:
            self._workers.discard(worker)
        worker.close()


class _Worker:
    """One worker process and the pipe to it."""

    def __init__(self, threads: int):
        if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
            # joblib gives its processes a start method that a worker would not know.
            multiprocessing.set_start_method("spawn", force=True)
        context = multiprocessing.get_context("spawn")
        self.pipe, child_end = context.Pipe()
        self.process = context.Process(target=_work, args=(child_end, threads), daemon=True)
        self.process.start()
        child_end.close()  # so that the pipe breaks when the worker dies
        self.calls = 0
        self.sent: Callable | None = None  # the function that the worker holds already
        self.alive = True

    def call(self, fn: Callable, args: tuple, kwargs: dict, timeout: float | None) -> Any:
        self.calls += 1
        try:
            code = None if fn is self.sent else pickle.dumps(fn)
            body = pickle.dumps((code, args, kwargs))
        except Exception as error:
            raise EvaluationError(CRASHED, f"cannot be sent to a worker: {error}") from error
        began = time.monotonic()
        try:
            self.pipe.send_bytes(body)
            self.sent = fn
            deadline = None if timeout is None else time.monotonic() + timeout
            if not wait([self.pipe], None if deadline is None else deadline - time.monotonic()):
                self.alive = False
                reason = f"took longer than executor.timeout={timeout} s"
                raise EvaluationError(TIMEOUT, reason, timeout or 0.0)
            worked, value = pickle.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            self.alive = False
            raise EvaluationError(*self._death(), time.monotonic() - began) from None
        if not worked:
            raise EvaluationError(*value)
        return value

    def _death(self) -> tuple[str, str]:
        """The status and the reason of a call whose worker has died."""
        self.process.join(5)
        code = self.process.exitcode
        if code == -signal.SIGKILL:
            return CRASHED, "the worker was killed by signal 9 (often the kernel, out of memory)"
        if code is not None and code < 0:
            return CRASHED, f"the worker was killed by signal {-code}"
        return CRASHED, f"the worker ended by itself with status {code}"

    def close(self) -> None:
        self.pipe.close()  # ends a worker that waits for a call
        if not self.alive:
            self.process.kill()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _work(pipe: Connection, threads: int) -> None:
    """The life of a worker process: one call after another, until the pipe is closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent is told as well, and ends its workers
    for name in _THREADS:  # before the first call imports TensorFlow
        os.environ[name] = str(threads)
    silence_if_configured()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    code: bytes = b""
    held: Callable | None = None
    while True:
        try:
            body = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        answer: tuple[bool, Any]
        try:
            new_code, args, kwargs = pickle.loads(body)
            if new_code is not None:
                code, held = new_code, None
            if held is None:  # a function that cannot be unpickled fails at every call
                held = pickle.loads(code)
            answer = True, held(*args, **kwargs)
            sent = pickle.dumps(answer)
        except (Exception, SystemExit) as error:
            known = classify(error)
            sent = pickle.dumps((False, (known.status, known.reason, known.seconds)))
        pipe.send_bytes(sent)


def _die_with_parent() -> None:
    """Ends this worker when its parent dies, which even kill -9 does not hide from a sentinel."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)
