"""Images in: sources, the store of decoded images, the split and its subsets, the audit."""

from selfsup.data.audit import AuditEntry, audit_csv, count_problems, find_duplicates, small_classes
from selfsup.data.build import prepare_store
from selfsup.data.contents import Contents
from selfsup.data.groups import read_groups
from selfsup.data.sources import open_source
from selfsup.data.sources.base import Source
from selfsup.data.split import Split, draw_subset, split_images
from selfsup.data.store import Store, open_store

__all__ = [
    "AuditEntry",
    "Contents",
    "Source",
    "Split",
    "Store",
    "audit_csv",
    "count_problems",
    "draw_subset",
    "find_duplicates",
    "open_source",
    "open_store",
    "prepare_store",
    "read_groups",
    "small_classes",
    "split_images",
]
