"""Every colour of the report, light and dark, and the contrast between them.

Colours live here and not in the stylesheet, so that a test can compute the contrast of each text on each
surface. Contrast is that of WCAG 2.2 (relative luminance, sRGB).
"""

import math

__all__ = ["DARK", "LEVELS", "LIGHT", "contrast", "mix", "palette_css", "tint", "tint_class", "tint_level"]

LIGHT = {
    "ink": "#1b1f24",
    "soft": "#56606c",
    "line": "#ddd9d0",
    "grid": "#e9e5dd",
    "paper": "#faf8f4",
    "card": "#ffffff",
    "sunk": "#f3f0ea",
    "win": "#0b6e69",
    "loss": "#a8431c",
    "open": "#767c86",
    "warn-paper": "#fdf2e4",
    "warn-line": "#e9c9a0",
    "warn-ink": "#6f3607",
    "focus": "#1d4ed8",
}
DARK = {
    "ink": "#e9e7e2",
    "soft": "#a7adb7",
    "line": "#3a3f47",
    "grid": "#2b2f36",
    "paper": "#14161a",
    "card": "#1c1f24",
    "sunk": "#23272d",
    "win": "#4cc2b8",
    "loss": "#f0926a",
    "open": "#8f96a1",
    "warn-paper": "#2f2210",
    "warn-line": "#6b4b1e",
    "warn-ink": "#f3c794",
    "focus": "#8ab4ff",
}

LEVELS = 6
STRONGEST = {
    "light": 0.55,
    "dark": 0.50,
}  # share of the hue in the strongest tint; the test computes its contrast


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def mix(colour: str, ground: str, share: float) -> str:
    """`share` of a colour over a ground, in sRGB.

    >>> mix("#ffffff", "#000000", 0.5)
    '#808080'
    """
    parts = [
        round(share * a + (1 - share) * b) for a, b in zip(_channels(colour), _channels(ground), strict=True)
    ]
    return "#" + "".join(f"{part:02x}" for part in parts)


def _luminance(colour: str) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (v / 255 for v in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio, 1 to 21.

    >>> round(contrast("#ffffff", "#000000"), 3)
    21.0
    """
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def tint_level(rate: float) -> int:
    """How far a share is from one half, to the nearest step of 1/12: 0 near one half, 6 at 1, -6 at 0.

    >>> [tint_level(r) for r in (0.0, 0.4, 0.5, 0.54, 0.87, 1.0)]
    [-6, -1, 0, 0, 4, 6]
    """
    distance = rate - 0.5
    level = math.floor(abs(distance) * 2 * LEVELS + 0.5)
    return level if distance >= 0 else -level


def tint_class(rate: float) -> str:
    """Name of the CSS class of a matrix cell.

    >>> tint_class(0.87), tint_class(0.13), tint_class(0.5)
    ('tint-up-4', 'tint-down-4', 'tint-none')
    """
    level = tint_level(rate)
    if level == 0:
        return "tint-none"
    return f"tint-{'up' if level > 0 else 'down'}-{abs(level)}"


def tint(level: int, theme: str) -> str:
    """Ground colour of a matrix cell at a level of -6 to 6, `theme` "light" or "dark"."""
    colours = LIGHT if theme == "light" else DARK
    hue = colours["win"] if level > 0 else colours["loss"]
    return mix(hue, colours["card"], STRONGEST[theme] * abs(level) / LEVELS)


def _block(theme: str) -> str:
    colours = LIGHT if theme == "light" else DARK
    lines = [f"--{name}:{value}" for name, value in colours.items()]
    for level in range(1, LEVELS + 1):
        lines += [f"--up-{level}:{tint(level, theme)}", f"--down-{level}:{tint(-level, theme)}"]
    return f":root{{color-scheme:{theme};{';'.join(lines)}}}"


def palette_css() -> str:
    """Custom properties of both themes and the classes of the tints. Paper prints light."""
    classes = "".join(
        f".tint-{way}-{level}{{background:var(--{way}-{level})}}"
        for way in ("up", "down")
        for level in range(1, LEVELS + 1)
    )
    return (
        f"{_block('light')}\n@media screen and "
        f"(prefers-color-scheme:dark){{{_block('dark')}}}\n.tint-none{{background:var(--card)}}{classes}\n"
    )
