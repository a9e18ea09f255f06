"""The language of a short text, by its script and its function words: a hint, told only where it is clear."""

from __future__ import annotations

import re
from collections import Counter

_SCRIPTS = (
    (0x0370, 0x03FF, "Greek"),
    (0x0400, 0x052F, "Cyrillic script"),
    (0x0590, 0x05FF, "Hebrew"),
    (0x0600, 0x06FF, "Arabic script"),
    (0x0900, 0x097F, "Devanagari script"),
    (0x0E00, 0x0E7F, "Thai"),
    (0x3040, 0x30FF, "Japanese"),
    (0x4E00, 0x9FFF, "Chinese"),
    (0xAC00, 0xD7AF, "Korean"),
)
_WORDS = {
    "English": "the of and in to is are with for by from what how on at as that this was be an or",
    "German": "der die das und ist nicht mit von zu den dem ein eine im auf für sind wie was bei",
    "French": "le la les des et est une dans pour par sur du au aux que qui avec sont ce",
    "Spanish": "el la los las y es una en para por con del que se como al su son lo",
    "Italian": "il la le gli di che è una per con del della nel sono come non lo dei",
    "Portuguese": "o os as e é uma em para por com do da dos das que não no na são",
    "Dutch": "de het een en van is niet met voor op aan zijn dat die wat hoe bij uit",
}
_KNOWN = {name: frozenset(words.split()) for name, words in _WORDS.items()}
_LETTERS = re.compile(r"[^\W\d_]+")


def language_of(text: str) -> str | None:
    """Return the language of a text, or its script; None where too few of its words tell.

    >>> language_of("The role of the spleen in anaemia"), language_of("Glaukom"), language_of("Что такое астма")
    ('English', None, 'Cyrillic script')
    """
    words = [word.casefold() for word in _LETTERS.findall(text)]
    letters = "".join(words)
    scripts = Counter(name for one in letters for low, high, name in _SCRIPTS if low <= ord(one) <= high)
    if letters and scripts.total() > len(letters) / 2:
        # Japanese is written with Chinese characters, too.
        return "Japanese" if scripts["Japanese"] else scripts.most_common(1)[0][0]
    counts = Counter({name: sum(word in known for word in words) for name, known in _KNOWN.items()})
    (first, most), (_, second) = counts.most_common(2)
    return first if most >= 2 and most > second else None
