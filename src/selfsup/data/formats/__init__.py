"""Files of images, one format at a time: what they hold, and which pixels are absent."""
