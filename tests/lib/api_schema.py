"""schema/api.schema.json, as the tests hold answers against it."""
import copy
import json
import os

import jsonschema

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
with open(f"{ROOT}/schema/api.schema.json", encoding="utf-8") as _f:
    DOCUMENT = json.load(_f)


def _merged(schema):
    """A definition whose `allOf` is one object: its parts' members together."""
    if "$ref" in schema:
        return _merged(DOCUMENT["$defs"][schema["$ref"].split("/")[-1]])
    if "allOf" not in schema:
        return schema
    whole = {"type": "object", "required": [], "properties": {}}
    for part in map(_merged, schema["allOf"]):
        whole["required"] = sorted({*whole["required"], *part.get("required", [])})
        whole["properties"].update(part["properties"])
    return whole


def _closed(schema):
    """The schema with no other members than those that it names: the server says nothing undocumented."""
    if isinstance(schema, list):
        return [_closed(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    if "allOf" in schema:
        schema = _merged(schema)
    made = {k: _closed(v) if k != "properties" else {n: _closed(p) for n, p in v.items()} for k, v in schema.items()}
    if "properties" in made:
        made["additionalProperties"] = False
    return made


CLOSED = {**DOCUMENT, "$defs": {name: _closed(s) for name, s in copy.deepcopy(DOCUMENT["$defs"]).items()}}


def check(answer, name):
    """Raises unless `answer` is what #/$defs/NAME says, whole, and nothing else."""
    jsonschema.Draft202012Validator({**CLOSED, "$ref": f"#/$defs/{name}"}).validate(answer)
    return answer
