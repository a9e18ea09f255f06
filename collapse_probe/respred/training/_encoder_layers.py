"""Which part of an encoder is trained: its top layers."""

from __future__ import annotations

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from torch import nn

from ...errors import InputError, setting
from ...retrieval import Encoder


def encoder_modules(encoder: Encoder) -> list[nn.Module]:
    """Return an encoder's modules, so that what is put behind them gets its embeddings as it gives them.

    The library cuts embeddings to ``truncate_dim`` after the last module; what follows needs them cut before, by a
    frozen layer of ones and zeros.
    """
    modules = list(encoder.model.children())
    width = encoder.model.truncate_dim
    if width is None:
        return modules
    whole = next(
        module.get_embedding_dimension() for module in reversed(modules) if hasattr(module, "get_embedding_dimension")
    )
    cut = Dense(whole, width, bias=False, activation_function=nn.Identity())
    with torch.no_grad():
        cut.linear.weight.copy_(torch.eye(width, whole))
    return [*modules, cut.requires_grad_(False)]


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
        raise InputError(
            f"{setting('unfreeze_layers', count)}: this encoder has {len(layers)} layers; give 1 to {len(layers)}"
        )
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
    raise InputError(f"{setting('unfreeze_layers')}: this encoder has no stack of transformer layers that can be found")
