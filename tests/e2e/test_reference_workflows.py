"""The reference workflows on the reference models, driven through workflow sessions over REST."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx
import pytest

from tests.e2e.servers import DEVELOPMENT, serving

_numbers = count(1)


class Office:
    """Who calls the server's tools."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)
        self.session = self.call(
            "create_agent_workflow_session", workflow_type="office", agent_id="clerk"
        )["workflow_session_id"]

    def close(self) -> None:
        self._client.close()

    def ask(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The answer, be it a result or an error."""
        answer: dict[str, Any] = self._client.post(f"/tools/{tool}", json=arguments).json()
        return answer

    def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        answer = self.ask(tool, **arguments)
        assert "error" not in answer, answer
        return answer

    def ask_run(self, workflow: str, /, **inputs: Any) -> dict[str, Any]:
        return self.ask(
            "execute_workflow_step",
            workflow_session_id=self.session,
            step_name=f"{workflow}-{next(_numbers)}",
            step_config={"type": "workflow", "workflow": workflow, "inputs": inputs},
        )

    def run(self, workflow: str, /, **inputs: Any) -> Any:
        answer = self.ask_run(workflow, **inputs)
        assert answer.get("success"), answer
        return answer["result"]

    def find(self, model: str, **condition: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call(f"{model}_list", filter=condition)["records"]
        return found


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    settings = {
        "MCP_RATE_LIMIT_PER_MINUTE": "1000000",
        "CLASSIFICATION_MODEL": "tests.e2e.sample_classifier:answer",
    }
    with serving(tmp_path_factory.mktemp("office"), *DEVELOPMENT, settings=settings) as server:
        found = Office(server.rest)
        yield found
        found.close()


def test_a_customer_is_made_once(office: Office) -> None:
    made = office.run("onboard_customer", company_id="company-acme", name="Neu", tax_id="DE999")
    again = office.run("onboard_customer", company_id="company-acme", name="Neu", tax_id="DE999")
    refused = office.ask_run("onboard_customer", company_id="company-lionparts", name="No")
    nowhere = office.ask_run("onboard_customer", company_id="company-none", name="No")

    assert made["created"] is True
    assert made["customer"]["currency"] == "EUR"
    manager = office.call("User_read", id=made["customer"]["account_manager_id"])
    assert (manager["company_id"], manager["is_active"]) == ("company-acme", True)
    assert again == {"customer": made["customer"], "created": False}
    assert refused["error"]["code"] == "conflict"
    assert nowhere["error"]["code"] == "not_found"
    assert len(office.find("Customer", tax_id="DE999")) == 1


def test_the_calls_that_agents_were_written_for_go_through(office: Office) -> None:
    """A script that was written for the server's forerunner, with its own arguments."""
    begun = office.call(
        "create_agent_session",
        agent_id="my_ai_agent",
        agent_info={
            "type": "llm_agent",
            "model": "gpt-4",
            "version": "1.0.0",
            "capabilities": ["dataflow_operations", "analysis"],
        },
    )
    assert begun["session_id"]
    assert (begun["type"], begun["model"]) == ("llm_agent", "gpt-4")

    session = office.call(
        "create_agent_workflow_session",
        agent_id="workflow_agent",
        workflow_type="customer_onboarding",
        session_config={"enable_caching": True},
    )["workflow_session_id"]
    steps: list[dict[str, Any]] = [
        {
            "step_name": "create_customer",
            "type": "dataflow_operation",
            "model": "Customer",
            "operation": "create",
            "parameters": {"data": {"name": "Acme", "industry": "technology"}},
        },
        {
            "step_name": "create_quote",
            "type": "dataflow_operation",
            "model": "Quote",
            "operation": "create",
            "parameters": {
                "data": {
                    "customer_id": "{{previous_result.id}}",
                    "total_amount": 10000.00,
                    "status": "draft",
                }
            },
        },
    ]
    customer, quote = (
        office.call(
            "execute_workflow_step",
            workflow_session_id=session,
            step_name=step["step_name"],
            step_config=step,
        )
        for step in steps
    )
    assert customer["success"]
    assert quote["success"]
    assert quote["result"]["customer_id"] == customer["result"]["id"]
    misnamed = office.ask(
        "execute_workflow_step",
        workflow_session_id=session,
        step_name="other",
        step_config=steps[0],
    )
    assert misnamed["error"]["field"] == "step_config.step_name"


def test_a_template_onboards_a_customer_step_by_step(office: Office) -> None:
    session = office.call(
        "create_agent_workflow_session",
        agent_id="sales_agent",
        workflow_type="customer_onboarding",
        session_config={
            "company_id": "company-acme",
            "customer_name": "Vorlage GmbH",
            "tax_id": "DE998",
            "quote_number": "Q-T-1",
        },
    )
    done = office.call(
        "execute_workflow_step",
        workflow_session_id=session["workflow_session_id"],
        run_all=True,
    )

    assert session["remaining_steps"] == ["onboard", "first_quote"]
    assert done["result"]["first_quote"]["title"] == "First offer for Vorlage GmbH"


def test_a_quote_is_drafted_priced_and_approved(office: Office) -> None:
    customer = office.call(
        "Customer_create",
        data={"name": "Kredit", "company_id": "company-acme", "credit_limit": "100.00"},
    )
    lines = [
        {"product_code": "A1", "quantity": 3, "unit_price": "9.99"},
        {"product_code": "B2", "quantity": "0.5", "unit_price": "0.01"},
    ]
    draft = office.run(
        "create_quote",
        customer_id=customer["id"],
        quote_number="Q-W-1",
        line_items=lines,
        discount_percent=10,
    )
    dearer = [{"product_code": "A1", "quantity": 10, "unit_price": "9.99"}]
    priced = office.run("price_quote", quote_id=draft["id"], line_items=dearer)
    refused = office.ask_run("approve_quote", quote_id=draft["id"])
    cheaper = office.run("price_quote", quote_id=draft["id"], discount_percent="50")
    sent = office.run("approve_quote", quote_id=draft["id"], valid_days=14)
    late = office.ask_run("price_quote", quote_id=draft["id"])
    wrong = office.ask_run(
        "create_quote",
        customer_id=customer["id"],
        quote_number="Q-W-2",
        line_items=[{"product_code": "A1", "quantity": 1, "unit_price": "free"}],
    )

    assert draft["subtotal"] == "29.98"
    assert (draft["discount_amount"], draft["tax_amount"]) == ("3.00", "5.13")
    assert draft["total_amount"] == "32.11"
    assert priced["total_amount"] == "118.88"
    assert refused["error"]["code"] == "conflict"
    assert refused["error"]["details"]["open_amount"] == "0"
    assert cheaper["total_amount"] == "59.44"
    assert (sent["status"], sent["total_amount"]) == ("sent", "59.44")
    assert late["error"]["code"] == "conflict"
    assert wrong["error"]["field"] == "step_config.inputs.line_items[0].unit_price"


def test_a_product_is_classified_by_what_is_known_first(office: Office) -> None:
    office.call(
        "ClassificationRule_create",
        data={
            "name": "boilers",
            "etim_class": "EC123456",
            "keywords": ["kessel"],
            "excluded_keywords": ["spielzeug"],
            "priority": 1,
        },
    )

    def classify(code: str, name: str, **more: Any) -> Any:
        return office.run(
            "classify_product",
            product_code=code,
            product_name=name,
            manufacturer="Werk",
            **more,
        )

    by_rule = classify("K1", "Kessel 20 kW")
    by_cache = classify("K2", "KESSEL  20 kw")
    by_model = classify("M1", "Lamp model-knows")
    unknown = classify("U1", "Spielzeug Kessel")
    user = office.find("User")[0]["id"]
    judged = office.run(
        "judge_classification",
        classification_id=by_rule["classification"]["id"],
        submitted_by_id=user,
        verdict="incorrect",
        suggested_class="EC654321",
    )
    again = classify("K1", "Kessel 20 kW")
    made_up = classify("M2", "Lamp model-invents")
    history = office.find(
        "ClassificationHistory", classification_id=by_rule["classification"]["id"]
    )

    assert [each["found_by"] for each in (by_rule, by_cache, by_model, again)] == [
        *("rule", "cache", "model", "history")
    ]
    assert by_rule["classification"]["etim_class"] == "EC123456"
    assert by_model["classification"]["needs_review"] is True
    assert unknown["classified"] is made_up["classified"] is False
    assert judged["classification"]["etim_class"] == "EC654321"
    assert again["classification"]["classification_method"] == "manual"
    assert sorted(each["change_type"] for each in history) == ["created", "reclassified"]


def test_each_task_of_a_document_has_one_worker(office: Office) -> None:
    task = "render_thumbnail"
    documents = [
        office.call("Document_create", data={"file_name": f"{number}.pdf"})["id"]
        for number in range(6)
    ]
    for each in documents:
        office.run("enqueue_document", document_id=each, processing_task=task, priority=1)
    twice = office.run("enqueue_document", document_id=documents[0], processing_task=task)

    def claim(worker: str) -> Any:
        own = office.call("create_agent_workflow_session", workflow_type="worker")
        found = office.call(
            "execute_workflow_step",
            workflow_session_id=own["workflow_session_id"],
            step_name="claim",
            step_config={
                "type": "workflow",
                "workflow": "claim_document",
                "inputs": {"worker_id": worker, "processing_task": task},
            },
        )
        return found["result"]["task"]

    with ThreadPoolExecutor(8) as workers:
        claimed = [each for each in workers.map(claim, [f"w{n}" for n in range(8)]) if each]
    first, second, *_ = claimed
    held = {"task_id": first["id"], "worker_id": first["worker_id"]}
    stolen = office.ask_run("complete_document", task_id=first["id"], worker_id="thief")
    done = office.run("complete_document", **held, task_output={"page_count": 4})
    again = office.run("complete_document", **held)
    back = office.run(
        "fail_document",
        task_id=second["id"],
        worker_id=second["worker_id"],
        error_message="no ink",
    )

    assert twice["created"] is False
    assert sorted(each["document_id"] for each in claimed) == sorted(documents)
    assert stolen["error"]["code"] == "conflict"
    assert (done["task"]["status"], done["document_status"]) == ("succeeded", "processed")
    assert again["task"]["task_output"] == {"page_count": 4}
    assert (back["task"]["status"], back["task"]["worker_id"]) == ("queued", None)


def test_a_lease_that_has_ended_lets_another_worker_take_over(office: Office) -> None:
    task = "classify_products"
    document = office.call("Document_create", data={"file_name": "x.pdf"})["id"]
    office.run("enqueue_document", document_id=document, processing_task=task, priority=0)
    first = office.run(
        "claim_document", worker_id="slow", processing_task=task, lease_seconds=0.001
    )["task"]
    second = office.run(
        "claim_document", worker_id="quick", processing_task=task, lease_seconds=60
    )["task"]
    other = office.run("claim_document", worker_id="late", processing_task=task)["task"]
    lost = office.ask_run("complete_document", task_id=first["id"], worker_id="slow")

    assert (first["id"], second["attempt_count"]) == (second["id"], 2)
    assert other is None or other["id"] != first["id"]
    assert lost["error"]["code"] == "conflict"
