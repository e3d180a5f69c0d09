"""Settings with smaller heads, for methods whose own take long; what they promise does not depend on it."""

from __future__ import annotations

SMALL_HEADS: dict[str, dict[str, int]] = {
    "barlow-twins": {"hidden_dim": 64, "output_dim": 32},
    "byol": {"hidden_dim": 64, "output_dim": 32},
    "dcl": {"hidden_dim": 64, "output_dim": 32},
    "dino": {"hidden_dim": 64, "bottleneck_dim": 32, "local_crops": 2},
    "distill": {"queue_size": 64},
    "lejepa": {"hidden_dim": 32, "output_dim": 16, "directions": 32, "local_crops": 2},
    "mae": {"decoder_dim": 32, "decoder_depth": 1},
    "moco-v3": {"hidden_dim": 64, "output_dim": 32},
    "nnclr": {"hidden_dim": 64, "output_dim": 32, "predictor_dim": 64, "support_size": 64},
    "simclr": {"hidden_dim": 64, "output_dim": 32},
    "simsiam": {"hidden_dim": 64, "output_dim": 32, "predictor_dim": 16},
    "supcon": {"hidden_dim": 64, "output_dim": 32},
    "swav": {"hidden_dim": 64, "output_dim": 32, "local_crops": 2, "prototypes": 24},
    "vicreg": {"hidden_dim": 64, "output_dim": 32},
}
