"""Operators of the default domain that the sweep leaves out, with the reason."""

from __future__ import annotations

_HOST = "lists, texts or control flow, which the host handles"
_SHAPE = "a shape or a constant: nothing is computed on a device"
_RANDOM = "random numbers: no two implementations draw the same"

LEFT_OUT: dict[str, str] = {
    **dict.fromkeys(
        (
            "ConcatFromSequence", "If", "Loop", "Optional", "OptionalGetElement", "OptionalHasElement",
            "RegexFullMatch", "Scan", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase",
            "SequenceInsert", "SequenceLength", "SequenceMap",
            "SplitToSequence", "StringConcat", "StringNormalizer", "StringSplit",
        ),
        _HOST,
    ),
    "TfIdfVectorizer": "counts of n-grams, whose tables ONNX's suite covers; its answer does not depend on tiles",
    "ImageDecoder": "decodes files on the host",
    **dict.fromkeys(("Constant", "ConstantOfShape", "Shape", "Size"), _SHAPE),
    **dict.fromkeys(
        ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"), _RANDOM
    ),
}  # fmt: skip
