"""The styles of a terminal's text (SGR) as classes of the stylesheet, whose six colours suit light and dark."""

from colorsys import rgb_to_hsv

COLOURS = ("", "red", "green", "yellow", "blue", "magenta", "cyan", "")
SWITCHES = {1: "bold", 2: "dim", 3: "italic", 4: "underline"}
OFF = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",)}
# The upper end of each hue's stretch, in degrees.
HUES = ((25, "red"), (70, "yellow"), (160, "green"), (200, "cyan"), (265, "blue"), (335, "magenta"), (361, "red"))
CUBE = (0, 95, 135, 175, 215, 255)


class Style:
    """What is on; `css` are its classes, and may be none."""

    def __init__(self) -> None:
        self.css = ""
        self._colour = ""
        self._on: set[str] = set()

    def change(self, parameters: str) -> None:
        """By the numbers of a sequence, as `1;31` or `38;5;196`. What is not known is passed over."""
        plain = parameters.replace(":2::", ":2:").replace(":", ";")
        numbers = [int(each or 0) if len(each) < 4 else -1 for each in plain.split(";")]
        while numbers:
            number = numbers.pop(0)
            if number in (38, 48, 58):
                colour = _extended(numbers)
                self._colour = colour if number == 38 else self._colour
            else:
                self._switch(number)
        words = ([self._colour] if self._colour else []) + [each for each in SWITCHES.values() if each in self._on]
        self.css = " ".join(f"ansi-{word}" for word in words)

    def _switch(self, number: int) -> None:
        if number == 0:
            self._colour = ""
            self._on.clear()
        elif number in SWITCHES:
            self._on.add(SWITCHES[number])
        elif number in OFF:
            self._on.difference_update(OFF[number])
        elif 30 <= number <= 37 or number == 39:
            self._colour = COLOURS[number - 30] if number != 39 else ""
        elif 90 <= number <= 97:
            self._colour = "grey" if number == 90 else COLOURS[number - 90]


def _extended(numbers: list[int]) -> str:
    """The colour that `5;N` or `2;R;G;B` at the head of `numbers` names, which are taken from it."""
    kind = numbers.pop(0) if numbers else -1
    if kind == 5 and numbers:
        return _of_palette(numbers.pop(0))
    if kind == 2 and len(numbers) >= 3:
        red, green, blue = numbers[:3]
        del numbers[:3]
        return _nearest(red, green, blue)
    numbers.clear()
    return ""


def _of_palette(number: int) -> str:
    if number < 8:
        return COLOURS[number]
    if number < 16:
        return "grey" if number == 8 else COLOURS[number - 8]
    if number < 232:
        place = number - 16
        return _nearest(CUBE[place // 36], CUBE[place // 6 % 6], CUBE[place % 6])
    return _nearest(*[8 + 10 * (number - 232)] * 3)


def _nearest(red: int, green: int, blue: int) -> str:
    """The colour of that hue; what has none is grey, or the text's own where it is almost black or white."""
    hue, saturation, value = rgb_to_hsv(*(min(max(each, 0), 255) / 255 for each in (red, green, blue)))
    if saturation > 0.25 and value > 0.2:
        return next(name for end, name in HUES if hue * 360 < end)
    return "grey" if 0.15 < value < 0.75 else ""
