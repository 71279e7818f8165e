"""What every run needs: a configuration, a folder, records as files, what the former names.

``config`` (read before torch is), ``codec``, ``store``, ``keys``, ``opening``, ``features``.
"""

__all__: list[str] = []
