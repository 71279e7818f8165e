"""Configurations of transformers' classifiers, small, by the name of their class.

Pictures are (N, 3, 32, 32) in [0, 1]; texts go in through their embeddings.
"""

from __future__ import annotations

from typing import Any

SIDE = 32
_SMALL = {"num_labels": 4, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_WIDE = {**_SMALL, "intermediate_size": 64}
_PATCHES = {**_WIDE, "image_size": SIDE, "patch_size": 8}
_TEXT = {**_WIDE, "vocab_size": 99, "max_position_embeddings": 40, "pad_token_id": 0}

PICTURES: dict[str, dict[str, Any]] = {
    "ViT": _PATCHES,
    "DeiT": _PATCHES,
    "Beit": _PATCHES,
    "Data2VecVision": _PATCHES,
    "Dinov2": {**_SMALL, "image_size": SIDE, "patch_size": 8},
    "Dinov2WithRegisters": {**_SMALL, "image_size": SIDE, "patch_size": 8},
    "IJepa": _PATCHES,
    "ViTMSN": _PATCHES,
    "Swin": {
        "num_labels": 4,
        "image_size": SIDE,
        "patch_size": 2,
        "embed_dim": 8,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 4,
    },
    "Swinv2": {
        "num_labels": 4,
        "image_size": SIDE,
        "patch_size": 2,
        "embed_dim": 8,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 4,
    },
    "ConvNext": {"num_labels": 4, "hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    "ConvNextV2": {"num_labels": 4, "hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    "ResNet": {
        "num_labels": 4,
        "embedding_size": 8,
        "hidden_sizes": [16, 16],
        "depths": [1, 1],
        "layer_type": "basic",
    },
    "RegNet": {
        "num_labels": 4,
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "groups_width": 4,
    },
    "MobileNetV1": {"num_labels": 4, "image_size": SIDE, "depth_multiplier": 0.25},
    "MobileNetV2": {"num_labels": 4, "image_size": SIDE, "depth_multiplier": 0.25},
    "PoolFormer": {
        "num_labels": 4,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "num_encoder_blocks": 2,
        "patch_sizes": [7, 3],
        "strides": [4, 2],
        "padding": [2, 1],
    },
    "Segformer": {
        "num_labels": 4,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "num_encoder_blocks": 2,
        "sr_ratios": [2, 1],
        "num_attention_heads": [1, 2],
        "patch_sizes": [7, 3],
        "strides": [4, 2],
        "mlp_ratios": [2, 2],
    },
    "FocalNet": {
        "num_labels": 4,
        "image_size": SIDE,
        "patch_size": 4,
        "embed_dim": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "focal_levels": [2, 2],
        "focal_windows": [3, 3],
    },
}
TEXTS: dict[str, dict[str, Any]] = {
    "Bert": _TEXT,
    "Roberta": _TEXT,
    "Electra": {**_TEXT, "embedding_size": 32},
    "Albert": {**_TEXT, "embedding_size": 32},
    "DistilBert": {
        "num_labels": 4,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 64,
        "vocab_size": 99,
        "max_position_embeddings": 40,
    },
    "MPNet": _TEXT,
    "GPT2": {
        "num_labels": 4,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "vocab_size": 99,
        "n_positions": 40,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
}
