"""The names of readings."""

_RENAMED = {
    "norm": "norm_mean",
    "cosine_above_chance": "alignment_above_chance",
    "tanh_saturation": "saturation",
    "isoscore": "isoscore_corrected",
}


def modern_reading(name: str) -> tuple[str, str]:
    """Return today's name of a reading of schemas 1 and 2, and what it was taken on."""
    stream, _, measure = name.partition("/")
    base, dot, suffix = measure.partition(".")
    if stream in ("query", "document"):
        on = "reference"
    elif stream in ("raw_query", "raw_document"):
        stream, on = stream.removeprefix("raw_"), "raw"
    elif stream == "delta_eval":
        stream, on = "delta", "reference"
    elif stream == "pairs":
        on = "batch" if base in ("margin", "accuracy") else "reference"
    elif stream == "validation":
        on = "reference"
    else:
        on = "batch"
    if (stream, base) == ("delta", "alpha"):
        stream, base = "alpha", "value"
    return f"{stream}/{_RENAMED.get(base, base)}{dot}{suffix}", on
