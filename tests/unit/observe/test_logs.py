from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PREAMBLE = """
import logging
from kailash_mcp_prod.observe.logs import configure_logging, get_logger
configure_logging({level!r}, form={form!r})
ours = get_logger("kailash_mcp_prod.some.module")
"""


def logged(program: str, level: str = "INFO", form: str | None = "console") -> str:
    """What a process of its own writes to stderr; logging is set up for the whole process."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE.format(level=level, form=form) + textwrap.dedent(program)],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == ""
    return done.stderr


def test_our_lines_go_to_stderr_with_level_module_time_and_values() -> None:
    text = logged("ours.info('tool_called', tool='Company_list', request_id='r1')")

    assert "tool_called" in text
    assert "info" in text
    assert "kailash_mcp_prod.some.module" in text
    assert "tool='Company_list'" in text
    assert "request_id='r1'" in text
    assert "Z" in text.split()[0]


def test_lines_below_the_level_are_left_out() -> None:
    text = logged("ours.info('quiet')\nours.warning('loud')\nours.debug('quiet')", "WARNING")

    assert "loud" in text
    assert "quiet" not in text


def test_debug_lines_are_ours_alone() -> None:
    text = logged(
        """
        ours.debug("wanted")
        logging.getLogger("asyncio").debug("unwanted")
        logging.getLogger("uvicorn.error").info("unwanted")
        logging.getLogger("uvicorn.error").warning("a warning")
        """,
        "DEBUG",
    )

    assert "wanted" in text.replace("unwanted", "")
    assert "unwanted" not in text
    assert "a warning" in text


def test_dataflow_and_kailash_are_silent_about_failures_we_answer() -> None:
    text = logged(
        """
        logging.getLogger("dataflow.core.nodes").error("Key (name)=(secret) already exists")
        logging.getLogger("kailash.nodes").warning("secret")
        """
    )

    assert text == ""


def test_tasks_that_dataflow_drops_are_silent_and_ours_are_not() -> None:
    text = logged(
        """
        asyncio = logging.getLogger("asyncio")
        asyncio.error("Task was destroyed: EnterpriseConnectionPool._health_check_loop")
        asyncio.error("Task was destroyed: our own")
        """
    )

    assert "EnterpriseConnectionPool" not in text
    assert "our own" in text


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_shows_no_values_of_variables(form: str) -> None:
    text = logged(
        form=form,
        program="""
        def fail(password):
            raise LookupError("here")
        try:
            fail("hunter" + "2")
        except LookupError:
            ours.exception("broke", request_id="r1")
        """,
    )

    assert "LookupError: here" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_text_of_a_client_can_not_forge_lines_or_reach_the_terminal(form: str) -> None:
    evil = "x\n2026 forged\r\x1b[31m\x7f\x9b1m\u2028\u202e\ud800"
    text = logged(
        f"""
        ours.info('call_failed', tool={evil!r})
        logging.getLogger("other").warning("Request %s", {evil!r})
        from kailash_mcp_prod.observe.log_lines import CallLine
        from kailash_mcp_prod.observe.logs import writer_of
        evil = {evil!r}
        more = {{"x": {{evil: evil}}}}
        line = CallLine(1.0, evil, evil, evil, evil, 0.1, False, evil, evil, True, more)
        writer_of(ours).put(line)
        """,
        form=form,
    )

    assert len(text.splitlines()) == 3
    assert text.isascii()
    assert set(text) & set("\x1b\x7f\r") == set()
    for line in text.splitlines():
        if form == "json":
            fields = json.loads(line)
            assert fields["event"] in {"call", "call_failed", f"Request {evil}"}
            assert fields.get("tool", evil) == evil


def test_setting_up_twice_does_not_double_lines() -> None:
    text = logged("configure_logging('INFO')\nours.info('once')")

    assert text.count("once") == 1


def test_off_a_terminal_lines_are_json() -> None:
    [line] = logged("ours.warning('odd', tool='t', count=3)", form=None).splitlines()

    fields = json.loads(line)
    assert list(fields)[:4] == ["time", "level", "event", "logger"]
    assert fields.pop("time").endswith("Z")
    assert fields == {
        "level": "warning",
        "event": "odd",
        "logger": "kailash_mcp_prod.some.module",
        "tool": "t",
        "count": 3,
    }


def test_a_file_gets_the_lines_too_and_what_is_not_json_becomes_text(tmp_path: Path) -> None:
    file = tmp_path / "production_mcp_server.log"
    text = logged(
        f"""
        from pathlib import Path
        configure_logging("INFO", form="console", file=Path({str(file)!r}))
        ours.info("odd", what=object, half="\\ud800")
        """
    )

    assert "odd" in text
    assert json.loads(file.read_text())["what"] == "<class 'object'>"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "end", ["", "raise LookupError", "sys.exit(3)", "import threading; threading.Event().wait()"]
)
def test_lines_are_written_when_the_process_ends_or_breaks(end: str) -> None:
    program = f"""
import sys
for number in range(5000):
    ours.info("line", number=number)
if {end!r}.startswith("import"):
    ours.error("last")
{end}
"""
    code = PREAMBLE.format(level="INFO", form="json") + program
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        if end.startswith("import"):
            # An error hurries the writer, so that even what kills the process comes too late.
            numbers = [json.loads(process.stderr.readline()).get("number") for _ in range(5001)]
            os.kill(process.pid, signal.SIGKILL)
        else:
            lines = [each for each in process.stderr.read().splitlines() if each[:1] == b"{"]
            numbers = [json.loads(each)["number"] for each in lines]

    assert numbers[:5000] == list(range(5000))


def test_a_reader_who_does_not_read_holds_nothing_up_and_is_told_what_was_dropped() -> None:
    program = """
import sys, time
begun = time.monotonic()
for number in range(20_000):
    ours.info("line", number=number, text="x" * 100)
print(time.monotonic() - begun, flush=True)
sys.stdin.read()
ours.info("end")
"""
    code = PREAMBLE.format(level="INFO", form="json") + program
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        # All are logged although the pipe takes only the first few.
        assert float(process.stdout.readline()) < 30
        process.stdin.close()
        lines = [json.loads(each) for each in process.stderr.read().splitlines()]

    kept = [each["number"] for each in lines if each["event"] == "line"]
    dropped = sum(each["count"] for each in lines if each["event"] == "log_lines_dropped")
    ended = any(each["event"] == "end" for each in lines)
    assert dropped > 0
    assert len(kept) + dropped + ended == 20_001
    assert kept == sorted(kept)


def test_what_libraries_set_up_when_they_are_imported_is_undone() -> None:
    text = logged(
        """
        import sys
        from kailash_mcp_prod.observe.logs import tame
        logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, force=True)
        """
    )
    assert text == ""
    text = logged(
        """
        import sys
        from kailash_mcp_prod.observe.logs import tame
        logging.getLogger().addHandler(logging.StreamHandler())
        for name in ("uvicorn.error", "nexus"):
            other = logging.getLogger(name)
            other.addHandler(logging.StreamHandler())
            other.propagate = False
        logging.getLogger().setLevel(logging.DEBUG)
        tame()
        other.warning("once")
        other.info("never")
        logging.getLogger("uvicorn.error").error("once too")
        """,
        form="json",
    )

    assert [json.loads(line)["event"] for line in text.splitlines()] == ["once", "once too"]


def test_an_application_that_has_its_own_logging_keeps_it() -> None:
    program = """
import io, logging
from kailash_mcp_prod.observe.logs import tame, writer_of
handler = logging.StreamHandler(io.StringIO())
logging.getLogger().addHandler(handler)
tame()
assert logging.getLogger().handlers == [handler]
assert writer_of(logging.getLogger("kailash_mcp_prod.calls")) is None
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
