"""Signals while the demo starts, runs and stops its child processes."""

from __future__ import annotations

import contextlib
import signal
import threading

import pytest

from worker.cli.demo.signals import AGAIN_S, Interrupted, Interrupts


def lose(number: signal.Signals) -> None:
    """Send a signal and drop what it raises, like C code that clears errors."""
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.fixture
def demo():
    """Runs a body inside `raising`; what it did, the cleanup included, and what it raised."""

    def demo(body, *, during_cleanup=None):
        done = []

        def run():
            with Interrupts() as interrupts, contextlib.ExitStack() as started:
                started.callback(done.append, "cleaned up")
                if during_cleanup:
                    started.callback(signal.raise_signal, during_cleanup)
                with interrupts.raising():
                    body(interrupts, done.append)

        with pytest.raises((Interrupted, OSError)) as caught:
            run()
        return done, caught.value

    return demo


def test_a_signal_raises_and_gives_the_exit_status_of_a_shell(demo):
    _, error = demo(lambda *_: signal.raise_signal(signal.SIGTERM))

    assert error.exit_status == 143


def test_a_signal_is_delayed_while_something_is_started(demo):
    def body(interrupts, done):
        with interrupts.held():
            signal.raise_signal(signal.SIGINT)
            done("started")
        done("went on")

    assert demo(body)[0] == ["started", "cleaned up"]


@pytest.mark.parametrize("held", [False, True])
def test_a_second_signal_does_not_disturb_the_cleanup(demo, held):
    def body(interrupts, done):
        if held:
            with interrupts.held():
                raise OSError("disk")  # a start that fails is followed by the cleanup too
        signal.raise_signal(signal.SIGINT)

    done, error = demo(body, during_cleanup=signal.SIGTERM)

    assert done == ["cleaned up"]
    assert isinstance(error, OSError) if held else error.number == signal.SIGINT


def test_a_signal_during_the_cleanup_of_a_good_run_is_raised_at_its_end(demo):
    done, error = demo(lambda *_: None, during_cleanup=signal.SIGHUP)

    assert (done, error.number) == (["cleaned up"], signal.SIGHUP)


def test_a_signal_in_a_finalizer_is_not_lost(demo):
    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)  # Python ignores what is raised here

    def body(_interrupts, done):
        Finalized()
        threading.Event().wait(10)
        done("went on")

    done, error = demo(body)

    assert (done, error.number) == (["cleaned up"], signal.SIGTERM)


@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_that_was_lost_is_raised_again(demo, times):
    def body(_interrupts, done):
        lose(signal.SIGTERM)
        for _ in range(times - 1):
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait(10)
        threading.Event().wait(10)
        done("went on")

    done, error = demo(body)

    assert (done, error.number) == (["cleaned up"], signal.SIGTERM)


def test_a_signal_that_was_lost_is_raised_at_the_end_if_that_comes_first(demo):
    done, error = demo(lambda *_: lose(signal.SIGHUP))

    assert (done, error.number) == (["cleaned up"], signal.SIGHUP)


def test_a_signal_that_was_lost_does_not_disturb_what_is_started_next(demo):
    def body(interrupts, done):
        lose(signal.SIGINT)
        with interrupts.held():
            threading.Event().wait(3 * AGAIN_S)
            done("started")
        done("went on")

    assert demo(body)[0] == ["started", "cleaned up"]


def test_a_signal_that_was_raised_does_not_come_again(demo):
    demo(lambda *_: signal.raise_signal(signal.SIGINT))
    threading.Event().wait(3 * AGAIN_S)  # the former handler would raise KeyboardInterrupt


def test_the_former_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT)

    with Interrupts(), pytest.raises(ZeroDivisionError):
        1 / 0  # noqa: B018

    assert signal.getsignal(signal.SIGINT) is before
