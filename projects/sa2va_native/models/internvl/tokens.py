"""Special tokens that InternVL adds to its language model's tokenizer."""

from __future__ import annotations

from sa2va_native.models.protocols import PictureTokens

PICTURE_TOKENS = PictureTokens("<img>", "</img>", "<IMG_CONTEXT>")
#: All of them, in the order of their ids.
ADDED_TOKENS = (*PICTURE_TOKENS, "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>")
