"""Ages and sizes as people type them; see ``notebook_durable.units``."""

from notebook_durable.units import age, byte_count

__all__ = ["age", "byte_count"]
