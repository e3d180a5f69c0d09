"""Crop to 8-100% of the area, flip, strong colour jitter, grey; blur from 64 pixels on."""

from __future__ import annotations

from selfsup.views.crop_and_colour import CropAndColour

#: Chen et al. 2020, appendix A, with colour strength 1.
policy = CropAndColour(jitter=(0.8, 0.8, 0.8, 0.2))
