"""The page of ``worldline encode``: claim, figure, law, controls and verdict of each experiment."""

from worldline.report.encode.page import render

__all__ = ["render"]
