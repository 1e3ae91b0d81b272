"""Widgets: what people click. Each has a text and an HTML form elsewhere, for where there are no widgets."""
