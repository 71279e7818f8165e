"""Symbolic sizes from a file: arithmetic, or nothing. sympy would evaluate them as Python."""

from __future__ import annotations

import ast

from worldline.errors import ModelError
from worldline.files import shorten

__all__ = ["check_expression"]

LONGEST = 2_000
ARITHMETIC = (
    "Symbol Integer Rational Float Add Mul Max Min Mod PythonMod FloorDiv CeilDiv CleanDiv "
    "ModularIndexing Where Identity ToFloat IntTrueDiv FloatTrueDiv CeilToInt FloorToInt "
    "TruncToInt RoundToInt TruncToFloat Eq Ne Equality Unequality StrictLessThan StrictGreaterThan "
    "LessThan GreaterThan And Or Not"
)
FUNCTIONS = frozenset(ARITHMETIC.split())
FACTS = ("integer", "positive", "nonnegative", "real", "evaluate", "precision")


def check_expression(text: str, name: str) -> None:
    """Refuse a symbolic size that is anything but arithmetic of whole numbers and named symbols.

    Args:
        text: the expression as torch.export has written it.
        name: the file, for the message.

    Raises:
        ModelError: attributes, calls of anything unknown, powers, long numbers or long texts.

    >>> check_expression("Add(Symbol('s0', positive=True, integer=True), Integer(2))", "m.pt2")
    >>> check_expression("__import__('os').getcwd()", "m.pt2")
    Traceback (most recent call last):
    worldline.errors.ModelError: m.pt2 holds the symbolic size "__import__('os').getcwd()", ...
    """
    try:
        if len(text) > LONGEST:
            raise ValueError
        for node in ast.walk(ast.parse(text, mode="eval")):
            if not _harmless(node):
                raise ValueError
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise ModelError(
            f"{name} holds the symbolic size {shorten(text, 100)!r}, which is more than "
            "arithmetic; sympy would evaluate it as Python, so it is not opened. Export the model "
            "with a plain dynamic batch dimension."
        ) from error


def _harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return (
            isinstance(node.func, ast.Name)
            and node.func.id in FUNCTIONS
            and all(word.arg in FACTS for word in node.keywords)
        )
    if isinstance(node, ast.Name):
        return node.id in FUNCTIONS or (
            node.id.isidentifier()
            and len(node.id) < 20
            and node.id[0] in "suz"
            and node.id[1:].isdecimal()
        )
    if isinstance(node, ast.Constant):
        whole = isinstance(node.value, (bool, int, float)) and abs(node.value) < 2**63
        return whole or (
            isinstance(node.value, str) and node.value.isidentifier() and len(node.value) < 40
        )
    plain = (
        ast.Expression,
        ast.BinOp,
        ast.UnaryOp,
        ast.Load,
        ast.keyword,
        ast.Compare,
        ast.Add,
        ast.Sub,
        ast.Mult,
        ast.Div,
    )
    return isinstance(node, (*plain, ast.FloorDiv, ast.Mod, ast.USub, ast.cmpop))
