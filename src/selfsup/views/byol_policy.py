"""As simclr with gentler colours and unequal views: the first always blurred, the second seldom, but solarised."""

from __future__ import annotations

from selfsup.views.crop_and_colour import CropAndColour

#: Grill et al. 2020, appendix B, table 6. Further views, such as small crops, are blurred half of the time and
#: never solarised (Caron et al. 2021, appendix E).
policy = CropAndColour(jitter=(0.4, 0.4, 0.2, 0.1), blur=(1.0, 0.1, 0.5), solarise=(0.0, 0.2, 0.0))
