"""Studies at an address, such as ``s3://bucket/study``: worked on in a folder of this machine that is kept in step."""

from selfsup.data.addresses import is_address, shown
from selfsup.record.storage.mirror import Mirror, local_folder
from selfsup.record.storage.uploads import Uploads, kept_in_step, upload

__all__ = ["Mirror", "Uploads", "is_address", "kept_in_step", "local_folder", "shown", "upload"]
