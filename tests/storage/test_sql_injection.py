"""D18: the text of SQL is made of constants alone; every value is a parameter.

The check reads the source. What a store hands to a query must be built from string literals, from constants
(NAMES_LIKE_THIS), from placeholders (`", ".join("?" * n)`), or from a choice between such texts.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from homeserver.storage.database import Database, Transaction
from tests.support.databases import ON_ALL_DRIVERS

STORAGE = Path(__file__).parents[2] / "homeserver" / "storage"

ENGINE = {
    "batch.py",
    "database.py",
    "migrating.py",
    "opening.py",
    "placeholders.py",
    "postgresql.py",
    "postgresql_connection.py",
    "postgresql_engine.py",
    "sqlite.py",
    "sqlite_connection.py",
    "synchronous.py",
    "writer.py",
}
"""The drivers pass on what they are given; they are read by people."""

QUERIES = {"fetch_all": 1, "fetch_one": 1, "fetch_value": 1, "execute": 1, "execute_many": 2, "add": 2, "put": 3}
"""Methods that take SQL first, and how many arguments they have at least (`set.add` has one)."""


class Finder(ast.NodeVisitor):
    """Collects the queries of a module whose text is not constant by construction."""

    def __init__(self, module: ast.Module) -> None:
        self.found: list[int] = []
        self._module = module
        self._functions: list[ast.AST] = []

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._functions.append(node)
        self.generic_visit(node)
        self._functions.pop()

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        is_query = name in QUERIES and len(node.args) + len(node.keywords) >= QUERIES[name] and node.args
        if is_query and not self.is_constant(node.args[0], frozenset()):
            self.found.append(node.lineno)
        self.generic_visit(node)

    def is_constant(self, node: ast.expr, seen: frozenset[str]) -> bool:
        match node:
            case ast.Constant():
                return isinstance(node.value, str)
            case ast.JoinedStr():
                return all(self.is_constant(value, seen) for value in node.values)
            case ast.FormattedValue():
                return self.is_constant(node.value, seen)
            case ast.IfExp():
                return self.is_constant(node.body, seen) and self.is_constant(node.orelse, seen)
            case ast.BinOp(op=ast.Add()):
                return self.is_constant(node.left, seen) and self.is_constant(node.right, seen)
            case ast.BinOp(op=ast.Mult()):  # "?" * n, ["(?, ?)"] * n
                return self.is_constant(node.left, seen)
            case ast.List() | ast.Tuple():
                return all(self.is_constant(value, seen) for value in node.elts)
            case ast.Starred():
                return self.is_constant(node.value, seen)
            case ast.ListComp() | ast.GeneratorExp():
                return self.is_constant(node.elt, seen)
            case ast.Call(func=ast.Attribute(attr="join" | "format" | "replace")):
                assert isinstance(node.func, ast.Attribute)
                return self.is_constant(node.func.value, seen) and all(self.is_constant(arg, seen) for arg in node.args)
            case ast.Subscript():  # a row of a table of texts
                return self.is_constant_table(node.value)
            case ast.Attribute():
                return node.attr.isupper()
            case ast.Name():
                return self.is_constant_name(node.id, seen)
        return False

    def is_constant_table(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id.isupper()

    def is_constant_name(self, name: str, seen: frozenset[str]) -> bool:
        """A constant of a module, or a local name that only ever gets constant texts."""
        if name.isupper() or name in seen:
            return True
        if not self._functions:
            return False
        values: list[ast.expr] = []
        for node in ast.walk(self._functions[-1]):
            match node:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        values += _values_for(target, value, name)
                case ast.AnnAssign(target=ast.Name(id=target), value=value) if target == name and value is not None:
                    values.append(value)
                case ast.AugAssign(target=ast.Name(id=target), value=value) if target == name:
                    values.append(value)
                case ast.NamedExpr(target=ast.Name(id=target), value=value) if target == name:
                    values.append(value)
                case ast.Call(func=ast.Attribute(value=ast.Name(id=target), attr="append"), args=args) if (
                    target == name
                ):
                    values += args
                case ast.For(target=target, iter=ast.Tuple(elts=rows) | ast.List(elts=rows)):
                    values += [found for row in rows for found in _values_for(target, row, name)]
                case ast.For(target=ast.Name(id=target), iter=value) if target == name:
                    values.append(value)
        return bool(values) and all(self.is_constant(value, seen | {name}) for value in values)


def _values_for(target: ast.expr, value: ast.expr, name: str) -> list[ast.expr]:
    """What `name` gets from an assignment, also from `a, b = x, y` and from a choice between such pairs."""
    if isinstance(target, ast.Name):
        return [value] if target.id == name else []
    if isinstance(target, ast.Tuple):
        if isinstance(value, ast.IfExp):
            return _values_for(target, value.body, name) + _values_for(target, value.orelse, name)
        if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
            pairs = zip(target.elts, value.elts, strict=True)
            return [found for each, given in pairs for found in _values_for(each, given, name)]
        if any(isinstance(each, ast.Name) and each.id == name for each in target.elts):
            return [value]
    return []


def find_doubtful(source: str) -> list[int]:
    """The lines of queries whose text is not made of constants alone."""
    finder = Finder(ast.parse(source))
    finder.visit(finder._module)
    return finder.found


STORES = sorted(path for path in STORAGE.glob("*.py") if path.name not in ENGINE)


@pytest.mark.parametrize("path", STORES, ids=lambda path: path.stem)
def test_D18_the_text_of_every_query_is_made_of_constants(path: Path) -> None:
    assert not find_doubtful(path.read_text()), f"{path.name}: values belong into the parameters"


VERBS = (["SELECT"], ["DELETE"], ["INSERT"], ["UPDATE"])


def test_D18_sql_is_nowhere_but_in_storage() -> None:
    """No other folder speaks SQL; so this check sees all of it."""
    folder = STORAGE.parent.parent
    found = []
    for path in [*folder.glob("homeserver/**/*.py"), *folder.glob("federation/**/*.py")]:
        if STORAGE in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = node.value.split()
                if words[:1] in (["SELECT"], ["DELETE"], ["INSERT"], ["UPDATE"]) and {"FROM", "INTO", "SET"} & set(
                    words
                ):
                    found.append(f"{path.relative_to(folder)}:{node.lineno}")
    assert not found


@pytest.mark.parametrize(
    "query",
    [
        'f"SELECT a FROM t WHERE b = {value}"',
        "f\"SELECT a FROM t WHERE b = '{value}'\"",
        '"SELECT a FROM t WHERE b = " + value',
        '"SELECT a FROM t WHERE b = %s" % value',
        '"SELECT a FROM t WHERE b = {}".format(value)',
        "value",
        "text",
        'f"SELECT a FROM t WHERE {self.value}"',
        'f"SELECT a FROM t WHERE {str(value)}"',
        '" AND ".join(texts)',
    ],
)
def test_the_check_finds_values_in_the_text(query: str) -> None:
    assert find_doubtful(
        "async def find_it(self, value, values):\n"
        '    text = "SELECT a FROM t"\n'
        "    text += value\n"
        '    texts = ["SELECT a"]\n'
        "    texts.append(value)\n"
        f"    return await self._db.fetch_all({query}, ())\n"
    ) == [6]


@pytest.mark.parametrize(
    "query",
    [
        '"SELECT a FROM t WHERE b = ?"',
        "SELECT_A",
        'f"SELECT {_COLUMNS} FROM t"',
        "f\"SELECT a FROM t WHERE b IN ({', '.join('?' * len(values))})\"",
        "f\"SELECT a FROM t ORDER BY b {'DESC' if value else 'ASC'}\"",
        "f\"SELECT a FROM t WHERE {' AND '.join(texts)}{order}\"",
        "f\"SELECT a FROM t WHERE {' AND '.join(looped)}\"",
    ],
)
def test_the_check_accepts_texts_made_of_constants(query: str) -> None:
    assert not find_doubtful(
        "async def find_it(self, value, values):\n"
        '    texts = ["a = ?"]\n'
        '    texts.append("b = ?")\n'
        "    looped = []\n"
        '    for condition, each in (("a = ?", value), ("b = ?", values)):\n'
        "        looped.append(condition)\n"
        '    order, limit = ("DESC", 1) if value else ("ASC", 2)\n'
        f"    return await self._db.fetch_all({query}, (value, *values))\n"
    )


@ON_ALL_DRIVERS
@pytest.mark.parametrize(
    "value",
    ["'; DROP TABLE notes; --", "' OR '1'='1", '"', "\\", "%", "_", "?", "$1", "{}", "\u2028", "𝕏'"],
)
async def test_D18_hostile_values_are_stored_as_they_are(database: Database, value: str) -> None:
    async def job(txn: Transaction) -> None:
        await txn.execute("CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT NOT NULL)")
        txn.add("INSERT INTO notes (id, text) VALUES (?, ?)", (1, value))

    await database.write(job)
    assert await database.fetch_all("SELECT text FROM notes WHERE text = ?", (value,)) == [(value,)]
    assert await database.fetch_all("SELECT text FROM notes WHERE text = ?", (f"{value}x",)) == []
