"""What `docs/content.md` says of resources, templates and prompts is what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from kailash_mcp_prod.content.documents import MAX_TEXT
from kailash_mcp_prod.content.prompts import PROMPTS
from tests.e2e.exchanges import ModernHttp
from tests.e2e.record_tools import MODELS
from tests.e2e.servers import ROOT, HttpServer, environment
from tests.e2e.snippets import snippets

PAGE = ROOT / "docs" / "content.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_every_resource_and_template_is_documented(development_server: HttpServer) -> None:
    with ModernHttp(development_server.mcp) as client:
        listed = client.request("resources/list")["result"]["resources"]
        templates = client.request("resources/templates/list")["result"]["resourceTemplates"]
    models = {f"dataflow://models/{model}" for model in MODELS}
    uris = {each["uri"] for each in listed} - models
    documented = set(re.findall(r"^\| `(\w+://[^`]+)` \|", TEXT, re.MULTILINE))

    assert len(listed) == len(uris) + len(models)
    assert documented == uris | {each["uriTemplate"] for each in templates}


def test_every_prompt_is_documented_with_its_arguments_and_needs() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+\?`(?:, )?)+) \| (.*)\|$", TEXT, re.MULTILINE)
    documented = {name: (re.findall(r"\w+", arguments), needs) for name, arguments, needs in rows}

    assert list(documented) == [each.name for each in PROMPTS]
    for spec in PROMPTS:
        arguments, needs = documented[spec.name]
        assert arguments == [each.name for each in spec.arguments]
        wanted = {
            word for need in spec.needs for word in (need.model, *need.operations, *need.fields)
        }
        assert wanted <= set(re.findall(r"\w+", needs))
        assert bool(wanted) == bool(needs.strip())


def test_the_bound_of_a_resource_is_the_documented_one() -> None:
    assert f"at most {MAX_TEXT:,} characters" in TEXT


def test_the_example_reads_a_record_and_a_prompt(development_server: HttpServer) -> None:
    [example] = snippets(PAGE, "python")
    assert "http://127.0.0.1:3001/mcp" in example
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            example.replace("http://127.0.0.1:3001/mcp", development_server.mcp),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    record, _, prompt = done.stdout.partition("\n")

    assert json.loads(record)["id"] == "company-acme"
    assert prompt.startswith("Find out what the Quote records")
