"""The language of a short text, by its script and its function words: a hint, told only where it is clear."""

from __future__ import annotations

import re
from collections import Counter

_SCRIPTS = {
    "Greek": re.compile("[\u0370-\u03ff]"),
    "Cyrillic script": re.compile("[\u0400-\u052f]"),
    "Hebrew": re.compile("[\u0590-\u05ff]"),
    "Arabic script": re.compile("[\u0600-\u06ff]"),
    "Devanagari script": re.compile("[\u0900-\u097f]"),
    "Thai": re.compile("[\u0e00-\u0e7f]"),
    "Japanese": re.compile("[\u3040-\u30ff]"),
    "Chinese": re.compile("[\u4e00-\u9fff]"),
    "Korean": re.compile("[\uac00-\ud7af]"),
}
_WORDS = {
    "English": "the of and in to is are with for by from what how on at as that this was be an or",
    "German": "der die das und ist nicht mit von zu den dem ein eine im auf für sind wie was bei",
    "French": "le la les des et est une dans pour par sur du au aux que qui avec sont ce",
    "Spanish": "el la los las y es una en para por con del que se como al su son lo",
    "Italian": "il la le gli di che è una per con del della nel sono come non lo dei",
    "Portuguese": "o os as e é uma em para por com do da dos das que não no na são",
    "Dutch": "de het een en van is niet met voor op aan zijn dat die wat hoe bij uit",
}
_LANGUAGES = {
    word: [name for name, known in _WORDS.items() if word in known.split()]
    for word in " ".join(_WORDS.values()).split()
}
_LETTERS = re.compile(r"[^\W\d_]+")


def language_of(text: str) -> str | None:
    """Return the language of a text, or its script; None where too few of its words tell.

    >>> language_of("The role of the spleen in anaemia"), language_of("Glaukom"), language_of("Что такое астма")
    ('English', None, 'Cyrillic script')
    """
    words = _LETTERS.findall(text.casefold())
    if not text.isascii():
        scripts = {name: len(one.findall(text)) for name, one in _SCRIPTS.items()}
        if sum(scripts.values()) > sum(map(len, words)) / 2:
            # Japanese is written with Chinese characters, too.
            return "Japanese" if scripts["Japanese"] else max(scripts, key=lambda name: scripts[name])
    counts: Counter[str] = Counter()
    for word in words:
        for name in _LANGUAGES.get(word, ()):
            counts[name] += 1
    (first, most), (_, second) = [*counts.most_common(2), ("", 0), ("", 0)][:2]
    return first if most >= 2 and most > second else None
