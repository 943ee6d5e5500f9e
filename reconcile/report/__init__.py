"""Reports as data: frozen dataclasses that the renderers read."""
