"""The cases that pass without a kernel, all of them, with the reason why there is nothing for the device to do."""

from __future__ import annotations

from collections.abc import Iterable

from tests.onnx_suite.runner import Result

_ENGLISH = ("casesensintive_lower", "casesensintive_nochangecase", "casesensintive_upper", "empty_output")
QUIET: dict[str, tuple[str, ...]] = {
    "strings": (
        *(f"test_string_concat{kind}" for kind in ("", "_broadcasting", "_empty_string", "_utf8", "_zero_dimensional")),
        *(f"test_strnorm_model_monday_{kind}" for kind in (*_ENGLISH, "insensintive_upper_twodim")),
        *(f"test_strnormalizer_export_monday_{kind}" for kind in (*_ENGLISH, "insensintive_upper_twodim")),
        "test_strnorm_model_nostopwords_nochangecase", "test_strnormalizer_nostopwords_nochangecase",
    ),
    "results without elements": (
        "test_constantofshape_int_shape_zero", "test_reduce_sum_empty_set_non_reduced_axis_zero",
        "test_regex_full_match_empty", "test_reshape_allowzero_reordered", "test_shape_start_greater_than_end",
        "test_slice_start_out_of_bounds", "test_split_zero_size_splits_opset13", "test_split_zero_size_splits_opset18",
        "test_string_split_empty_tensor", "test_tril_zero", "test_triu_zero",
    ),
}  # fmt: skip


def surprises(results: Iterable[Result]) -> list[str]:
    """What differs from :data:`QUIET`, a line each."""
    listed = {name for names in QUIET.values() for name in names}
    return [
        f"{r.name} launches {r.launches} kernels: quiet.py says {'none' if r.name in listed else 'otherwise'}"
        for r in results if r.status == "passed" and (r.launches == 0) != (r.name in listed)
    ]  # fmt: skip
