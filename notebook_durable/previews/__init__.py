"""What a value looks like, made when it is stored: nothing is unpickled to look at a journal.

A preview is JSON text: an object with ``kind`` and ``type`` (module.qualname), and by kind

- ``text``: ``text``, ``cut`` (it was longer), ``length`` in characters or bytes
- ``frame``: ``shape``, ``columns`` (``name``, ``dtype``), ``rows`` and ``index`` as texts
- ``array``: ``shape``, ``dtype``, ``text``, and ``stats`` (``min``, ``max``, ``mean``, ``nan``; ``sample``: of so many)
- ``image``: ``png`` in base64, ``width``, ``height`` in pixels
- ``items``: ``length``, ``items`` ([key, text] or [key, text, preview])
"""

from __future__ import annotations

from notebook_durable.previews.make import preview

__all__ = ["preview"]
