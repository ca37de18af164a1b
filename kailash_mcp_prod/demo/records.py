"""The steps on records, of whatever models the server has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kailash_mcp_prod.demo.running import Step
from kailash_mcp_prod.demo.samples import NoSampleError, sample_record
from kailash_mcp_prod.demo.stage import Stage, StepFailedError

_SECTION: Final = "Records"
_GUESSED_WRONG: Final = "invalid_arguments"
_OPERATIONS: Final = ("create", "read", "list", "update", "delete")
# What people know, where it is there.
_PREFERRED: Final = ("Company", "Customer", "Project", "Product")


def candidates(tools: Mapping[str, Mapping[str, Any]], mark: str) -> Iterator[tuple[str, Any]]:
    """Models whose records can be made up, the well-known ones first, each with a record."""
    models = [
        name.removesuffix("_create")
        for name in tools
        if name.endswith("_create") and not name.endswith("_bulk_create")
    ]
    for model in sorted(models, key=lambda each: each not in _PREFERRED):
        if all(f"{model}_{operation}" in tools for operation in _OPERATIONS):
            schema = tools[f"{model}_create"].get("properties", {}).get("data", {})
            try:
                yield model, sample_record(schema, mark)
            except NoSampleError:
                continue


async def _create(stage: Stage) -> str:
    refusal = "There is no model whose records this credential may create, change and delete."
    for model, data in candidates(stage.tools, stage.mark):
        try:
            record = await stage.call(f"{model}_create", data=data)
        except StepFailedError as failure:
            if failure.code != _GUESSED_WRONG:
                raise
            # Its rules may be such that nobody can guess a record.
            refusal = f"{model}: {failure}"
            continue
        stage.made.update(model=model, data=data, id=record["id"])
        return f"{model} {record['id']}"
    raise StepFailedError(refusal)


async def _read(stage: Stage) -> str:
    record = await _on_record(stage, "read")
    return f"{len(record)} fields, {_changed_field(stage)} is {_shown(stage, record)}"


async def _list(stage: Stage) -> str:
    model, filtered = stage.made["model"], {"id": stage.made["id"]}
    page = await stage.call(f"{model}_list", filter=filtered, include_total=True)
    if [each["id"] for each in page["records"]] != [stage.made["id"]]:
        raise StepFailedError(f"{model}_list does not find the record that was created.")
    return f"found by its id among the records of {model}"


async def _update(stage: Stage) -> str:
    record = await _on_record(stage, "update", data=changed(stage))
    return f"{_changed_field(stage)} is now {_shown(stage, record)}"


async def _delete(stage: Stage) -> str:
    gone = stage.made.pop("id")
    answer = await stage.call(f"{stage.made['model']}_delete", id=gone)
    if not answer.get("deleted"):
        raise StepFailedError("The record was not deleted.")
    return f"{stage.made['model']} {gone} is gone"


async def _on_record(stage: Stage, operation: str, **more: Any) -> dict[str, Any]:
    return await stage.call(f"{stage.made['model']}_{operation}", id=stage.made["id"], **more)


def changed(stage: Stage) -> dict[str, Any]:
    """A change of the record that was made up."""
    name = _changed_field(stage)
    value = stage.made["data"][name]
    marked = isinstance(value, str) and stage.mark in value
    return {name: value.replace("Demo", "Shown") if marked else value}


def _changed_field(stage: Stage) -> str:
    data = {name: value for name, value in stage.made["data"].items() if name != "id"}
    texts = [name for name, value in data.items() if stage.mark in str(value)]
    found = [*texts, *data]
    if not found:
        raise StepFailedError("The model has no field that has to be given, so none is changed.")
    return str(found[0])


def _shown(stage: Stage, record: Mapping[str, Any]) -> str:
    return repr(record.get(_changed_field(stage)))


STEPS: Final = (
    Step(_SECTION, "create a record", _create),
    Step(_SECTION, "read it", _read, needs=("id",)),
    Step(_SECTION, "find it", _list, needs=("id",)),
    Step(_SECTION, "change it", _update, needs=("id",)),
    Step(_SECTION, "delete it", _delete, needs=("id",)),
)
