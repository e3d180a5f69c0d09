"""Images in: sources, the store of decoded images, the split and its subsets, the audit."""
