"""The page of an examination."""

from worldline.report.doctor.page import render

__all__ = ["render"]
