"""Which part of an encoder is trained: its top layers."""

from __future__ import annotations

from sentence_transformers import SentenceTransformer
from torch import nn

from ..errors import InputError


def unfreeze_top(model: SentenceTransformer, count: int) -> list[nn.Module]:
    """Make the top transformer layers trainable and freeze everything else of the encoder.

    Args:
        model: The encoder.
        count: How many layers, from 1.

    Returns:
        The frozen layers and embeddings, to be kept in evaluation mode: dropout in what does not learn would be
        noise alone.

    Raises:
        InputError: no stack of layers is found, or it has fewer.
    """
    trained = top_layers(model, count)
    model.requires_grad_(False)
    for layer in trained:
        layer.requires_grad_(True)
    inside = {module for layer in trained for module in layer.modules()}
    return [module for module in model.modules() if module not in inside and not inside & set(module.modules())]


def top_layers(model: SentenceTransformer, count: int) -> list[nn.Module]:
    """Return an encoder's top transformer layers, the lowest of them first.

    Raises:
        InputError: no stack of layers is found, or it has fewer.
    """
    layers = transformer_layers(model)
    if not 1 <= count <= len(layers):
        raise InputError(f"--unfreeze-layers {count}: this encoder has {len(layers)} layers; give 1 to {len(layers)}")
    return list(layers)[-count:]


def transformer_layers(model: SentenceTransformer) -> nn.ModuleList:
    """Return an encoder's stack of transformer layers, lowest first.

    Raises:
        InputError: there is none that has as many as the encoder's configuration says.
    """
    transformer = getattr(model[0], "auto_model", None)
    expected = getattr(getattr(transformer, "config", None), "num_hidden_layers", None)
    for module in () if transformer is None else transformer.modules():
        if isinstance(module, nn.ModuleList) and len(module) == expected:
            return module
    raise InputError("--unfreeze-layers: this encoder has no stack of transformer layers that can be found")
