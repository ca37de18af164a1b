from __future__ import annotations

import subprocess
import sys
import textwrap

PREAMBLE = """
import logging
from kailash_mcp_prod.observe.logs import configure_logging, get_logger
configure_logging({level!r})
ours = get_logger("kailash_mcp_prod.some.module")
"""


def logged(program: str, level: str = "INFO") -> str:
    """What a process of its own writes to stderr; logging is set up for the whole process."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE.format(level=level) + textwrap.dedent(program)],
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


def test_a_traceback_shows_no_values_of_variables() -> None:
    text = logged(
        """
        def fail(password):
            raise LookupError("here")
        try:
            fail("hunter" + "2")
        except LookupError:
            ours.exception("broke", request_id="r1")
        """
    )

    assert "LookupError: here" in text
    assert "hunter2" not in text


def test_a_text_of_a_client_can_not_forge_lines_or_reach_the_terminal() -> None:
    text = logged("ours.info('call_failed', tool='x\\n2026 forged\\x1b[31m')")

    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


def test_setting_up_twice_does_not_double_lines() -> None:
    text = logged("configure_logging('INFO')\nours.info('once')")

    assert text.count("once") == 1
