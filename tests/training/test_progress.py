"""Reports of progress."""

import io

from training.progress import Progress


def test_reports_the_end_with_rate_and_note() -> None:
    stream = io.StringIO()
    progress = Progress("reading", 4, "files", interval_s=1e6, stream=stream)
    progress.advance(3)
    assert stream.getvalue() == ""
    progress.advance(1, "done")
    line = stream.getvalue()
    assert line.startswith("reading: 4/4 files, ")
    assert "files/s, 0.0 min left, done" in line


def test_steps_of_an_earlier_run_do_not_count_for_the_rate() -> None:
    progress = Progress("reading", 100, "files", done=90, interval_s=1e6, stream=io.StringIO())
    assert progress.rate == 0
    assert "90/100 files, 0.00 files/s, time left unknown" in progress.line()
    progress.advance(1)
    assert progress.line().startswith("reading: 91/100")
    assert progress.rate > 0


def test_on_a_terminal_the_line_is_rewritten() -> None:
    class _Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = _Terminal()
    progress = Progress("reading", 2, "files", interval_s=0, stream=stream)
    progress.advance()
    progress.advance()
    assert stream.getvalue().count("\r\033[K") == 2
    assert stream.getvalue().count("\n") == 1
