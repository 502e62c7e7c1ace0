"""Where trials run: in this process, or in warm worker processes that are replaced in time.

A failure that has a name reaches the future as EvaluationError, so that the search can go on.
"""

import collections
import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from nas.core.tensorflow_log import silence_if_configured
from nas.core.trial import CRASHED, OOM, TIMEOUT, ConfigError, EvaluationError

_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def classify(error: Exception) -> EvaluationError:
    """Any exception of an evaluation as one of the statuses, with its message on one line."""
    if isinstance(error, EvaluationError):
        return error
    name = type(error).__name__
    text = " ".join(str(error).split())[:300]
    status = OOM if isinstance(error, MemoryError) or name == "ResourceExhaustedError" else CRASHED
    return EvaluationError(status, f"{name}: {text}{_place(error)}")


def _place(error: Exception) -> str:
    """Where it was raised: the innermost line that is not an installed package's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""


class SerialExecutor(concurrent.futures.Executor):
    """Runs each call as it is submitted, in this process."""

    workers = 1

    def submit(self, fn: Callable, /, *args, **kwargs) -> concurrent.futures.Future:
        future: concurrent.futures.Future = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(classify(error))
        return future


class ProcessExecutor(concurrent.futures.Executor):
    """Warm worker processes, one trial at a time each.

    Args:
      workers: processes.
      recycle_after: a worker is replaced after so many trials: a traced graph leaks 3 to 18 MB.
      timeout: seconds after which a trial's worker is killed; None for never.
      threads_per_worker: of TensorFlow and BLAS, so that workers do not fight for the cores.
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

    def submit(self, fn: Callable, /, *args, **kwargs) -> concurrent.futures.Future:
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

    def __exit__(self, kind, error, trace) -> None:
        """After an error nobody waits for the answers: the workers are ended at once."""
        if kind is not None:
            with self._changed:
                self._abandoned = True
                for worker in self._workers:
                    worker.process.kill()
        self.shutdown(wait=True, cancel_futures=kind is not None)

    def _serve(self) -> None:
        """One thread per slot: keeps a worker alive and hands it one call after another."""
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
    """One process and the pipe to it."""

    def __init__(self, threads: int):
        if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
            # joblib's processes have one of their own, which a worker would not find.
            multiprocessing.set_start_method("spawn", force=True)
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, threads), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe breaks when the worker dies
        self.calls = 0
        self.sent: Callable | None = None  # the function the worker holds already
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
        self.process.join(5)
        code = self.process.exitcode
        if code == -signal.SIGKILL:
            return CRASHED, "the worker was killed by signal 9 (often the kernel, out of memory)"
        if code is not None and code < 0:
            return CRASHED, f"the worker was killed by signal {-code}"
        return CRASHED, f"the worker ended by itself with status {code}"

    def close(self) -> None:
        self.pipe.close()  # a waiting worker ends
        if not self.alive:
            self.process.kill()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _work(pipe: Connection, threads: int) -> None:
    """The worker's life: one call after another, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
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
            new, args, kwargs = pickle.loads(body)
            if new is not None:
                code, held = new, None
            if held is None:  # or it could not be made before, and says so again
                held = pickle.loads(code)
            answer = True, held(*args, **kwargs)
            sent = pickle.dumps(answer)
        except Exception as error:
            known = classify(error)
            sent = pickle.dumps((False, (known.status, known.reason, known.seconds)))
        pipe.send_bytes(sent)


def _die_with_parent() -> None:
    """A parent killed with kill -9 cannot tell: its sentinel does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)
