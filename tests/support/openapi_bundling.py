"""Bundles the spec's OpenAPI files (split YAML) into the JSON files that tests read.

`openapi.json`: every operation with the schemas of its JSON answers. `openapi_requests.json`: what a request of the
Client-Server and Server-Server APIs may be: who may ask, its parameters and its body. Dropped: prose and examples.
The spec is © The Matrix.org Foundation C.I.C. and contributors, Apache License 2.0; the bundle says so and from where.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

APIS = ("client-server", "server-server", "application-service", "push-gateway", "identity")
METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
ANNOTATIONS = frozenset(
    {"description", "title", "example", "examples", "default", "deprecated", "externalDocs", "readOnly", "writeOnly"}
)
NAME_MAPS = frozenset({"properties", "patternProperties", "$defs", "dependentSchemas"})
LITERALS = frozenset({"enum", "const", "required"})

Json = Any


class Bundler:
    """Walks the operations of a spec folder (with `api/` and `event-schemas/`) and collects what they refer to."""

    holds = "Schemas of the answers of every operation"

    def __init__(self, spec: Path) -> None:
        self._spec = spec.resolve()
        self._load = cache(_load_yaml)
        self._definitions: dict[str, Json] = {}

    def bundle(self) -> dict[str, Json]:
        """The whole bundle, in a stable order."""
        operations = [row for api in APIS for row in self._operations_of(api)]
        return {
            "about": (
                f"{self.holds} of the Matrix specification, bundled by "
                "scripts/bundle_openapi from the repository matrix-org/matrix-spec (folder data/), without its prose. "
                "Copyright The Matrix.org Foundation C.I.C. and contributors. Licensed under the Apache License, "
                "Version 2.0."
            ),
            "source": self._source(),
            "operations": operations,
            "$defs": dict(sorted(self._definitions.items())),
        }

    def _source(self) -> str:
        readme = self._spec / "README.md"
        found = re.search(r"commit ([0-9a-f]{40})", readme.read_text()) if readme.exists() else None
        return f"matrix-org/matrix-spec at {found.group(1) if found else 'an unknown commit'}"

    def _operations_of(self, api: str) -> list[dict[str, Json]]:
        rows = []
        for file in sorted((self._spec / "api" / api).glob("*.yaml")):
            document = self._load(file)
            if "paths" not in document:
                continue
            base = document["servers"][0]["variables"].get("basePath", {}).get("default", "")
            for path, item in document["paths"].items():
                methods = [method for method in METHODS if method in item]
                rows += [self._operation(api, file, method, base + path, item[method]) for method in methods]
        return rows

    def _operation(self, api: str, file: Path, method: str, path: str, operation: Json) -> dict[str, Json]:
        answers: dict[str, Json] = {}
        for status, answer in operation["responses"].items():
            holder, answer = self._follow(file, answer)
            content = answer.get("content", {})
            if not content:
                answers[str(status)] = None
            elif "application/json" in content:
                answers[str(status)] = self._schema(holder, content["application/json"].get("schema", {}))
            else:
                answers[str(status)] = {"not_json": sorted(content)}
        return {
            "api": api,
            "method": method.upper(),
            "path": path,
            "operation": operation["operationId"],
            "answers": answers,
        }

    def _follow(self, file: Path, value: Json) -> tuple[Path, Json]:
        """Resolve a reference that stands where a whole OpenAPI object is expected."""
        while "$ref" in value:
            file, pointer = self._target(file, value["$ref"])
            value = _at(self._load(file), pointer)
        return file, value

    def _schema(self, file: Path, schema: Json) -> Json:
        """A schema without annotations, whose references all go to `#/$defs/…` of the bundle."""
        if not isinstance(schema, dict):
            return schema
        kept: dict[str, Json] = {}
        for keyword, value in schema.items():
            if keyword in ANNOTATIONS or keyword.startswith("x-"):
                continue
            if keyword == "$ref":
                kept["$ref"] = self._define(file, value)
            elif keyword in NAME_MAPS:
                kept[keyword] = {name: self._schema(file, inner) for name, inner in value.items()}
            elif keyword in LITERALS:
                kept[keyword] = value
            elif isinstance(value, dict):
                kept[keyword] = self._schema(file, value)
            elif isinstance(value, list):
                kept[keyword] = [self._schema(file, inner) for inner in value]
            else:
                kept[keyword] = value
        return kept

    def _define(self, file: Path, reference: str) -> str:
        target, pointer = self._target(file, reference)
        relative = target.relative_to(self._spec).with_suffix("").as_posix()
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{relative}{'.' if pointer else ''}{pointer}").strip("-")
        if name not in self._definitions:
            self._definitions[name] = {}  # stands in while the definition refers to itself
            self._definitions[name] = self._schema(target, _at(self._load(target), pointer))
        return f"#/$defs/{name}"

    @staticmethod
    def _target(file: Path, reference: str) -> tuple[Path, str]:
        place, _, pointer = reference.strip().partition("#")
        return ((file.parent / place).resolve() if place else file), pointer.strip("/")


class RequestBundler(Bundler):
    """The other half: requests of the Client-Server and Server-Server APIs."""

    holds = "Schemas of the requests of the Client-Server and Server-Server operations"

    def _operations_of(self, api: str) -> list[dict[str, Json]]:
        return super()._operations_of(api) if api in ("client-server", "server-server") else []

    def _operation(self, api: str, file: Path, method: str, path: str, operation: Json) -> dict[str, Json]:
        item = self._load(file)["paths"][path.removeprefix(self._base(file))]
        parameters = [
            self._parameter(file, one) for one in (*item.get("parameters", ()), *operation.get("parameters", ()))
        ]
        return {
            "api": api,
            "method": method.upper(),
            "path": path,
            "operation": operation["operationId"],
            "security": sorted(
                {scheme for choice in operation.get("security", ()) for scheme in choice or ("nothing",)}
            ),
            "parameters": parameters,
            "body": self._body(file, operation.get("requestBody")),
        }

    def _base(self, file: Path) -> str:
        base: str = self._load(file)["servers"][0]["variables"].get("basePath", {}).get("default", "")
        return base

    def _parameter(self, file: Path, parameter: Json) -> Json:
        holder, parameter = self._follow(file, parameter)
        return {
            "in": parameter["in"],
            "name": parameter["name"],
            "required": parameter.get("required", False),
            "schema": self._schema(holder, parameter.get("schema", {})),
        }

    def _body(self, file: Path, body: Json) -> Json:
        if body is None:
            return None
        holder, body = self._follow(file, body)
        content = body.get("content", {})
        if "application/json" not in content:
            return {"not_json": sorted(content)}
        return self._schema(holder, content["application/json"].get("schema", {}))


def write_bundle(spec: Path, destination: Path, kind: type[Bundler] = Bundler) -> None:
    """Write the bundle of a spec folder, one definition or operation a line so that changes can be read."""
    bundle = kind(spec).bundle()
    lines = ["{"]
    lines += [f"{json.dumps(key)}: {_compact(bundle[key])}," for key in ("about", "source")]
    lines += ['"operations": [', ",\n".join(_compact(row) for row in bundle["operations"]), "],"]
    rows = (f"{json.dumps(name)}: {_compact(schema)}" for name, schema in bundle["$defs"].items())
    lines += ['"$defs": {', ",\n".join(rows), "}", "}"]
    destination.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _compact(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _at(document: Json, pointer: str) -> Json:
    for part in pointer.split("/") if pointer else ():
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


def _load_yaml(file: Path) -> Json:
    return yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)


class _Loader(yaml.SafeLoader):
    """YAML whose dates stay text."""


_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
