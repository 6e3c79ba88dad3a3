"""How exactly a measurement is stored."""

import numpy as np

DIGITS = 13
"""Binary digits after a measurement's first: it is rounded by at most 6e-5 of itself, a sixteenth of the tolerance
within which a table is audited, and tables are half as large."""


def rounded(values: np.ndarray) -> np.ndarray:
    """Numbers of single precision to DIGITS binary digits; what is not finite stays."""
    mantissa, exponent = np.frexp(values)
    scale = np.float32(2 ** (DIGITS + 1))
    return np.ldexp(np.round(mantissa * scale) / scale, exponent).astype("float32")
