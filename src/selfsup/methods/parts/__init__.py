"""Parts that methods are composed of: heads, losses, momentum encoder, queue."""
