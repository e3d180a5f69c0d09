"""Pictures and maps of a study: values in, PNG bytes or HTML text out; no files are touched."""
