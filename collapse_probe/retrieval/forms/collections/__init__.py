"""Collections in the layouts that people have them in."""

from __future__ import annotations

from . import folder, group, one_object

COLLECTION_FORMS = (folder.FORM, group.FORM, one_object.FORM)
"""Every layout of a collection."""
