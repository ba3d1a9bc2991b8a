"""What a vision-language model is asked about a photo (paper, "Prompts"), and by which keys it has to answer."""

KEYS = {
    "indoor": "true inside a building, false in the open",
    "atmosphere": "the place, its light and the picture's mood and style, so coarsely that it holds for every way "
    "one may look: no object that stands in the middle, no people, no animals",
    "sky": "what one sees overhead: outdoors the sky, indoors the ceiling, with its colour and material",
    "ground": "what one sees underfoot: outdoors the ground, indoors the floor, with its colour and material",
    "negative": "what must not appear in the parts that the photo does not show, such as a second copy of its subject",
    "medium": 'how the picture was made, such as "oil painting, visible brush strokes" or "photograph"',
}
COARSE = "the whole scene in one coarse sentence: the place, what belongs to it, its light and style"
MOST_WORDS = 30


def keys(coarse: bool, style: bool) -> tuple[str, ...]:
    """What is asked for. coarse: one description for all directions. style: the medium, too."""
    of_scene = ("indoor", "atmosphere", "negative") if coarse else ("indoor", "atmosphere", "sky", "ground", "negative")
    return (*of_scene, "medium") if style else of_scene


def question(coarse: bool, style: bool) -> str:
    """The instruction that goes with the photo."""
    asked = [f'"{key}": {COARSE if coarse and key == "atmosphere" else KEYS[key]}' for key in keys(coarse, style)]
    lines = "\n".join(f"- {line}" for line in asked)
    return (
        "This picture shows a part of a place; the rest of it, all round, is to be painted from your words. (If it is "
        "four square views side by side, they show one place in four directions.) Describe it as short prompts for an "
        f"image generator. Answer with one JSON object and nothing else. Its keys:\n{lines}\n"
        f'"indoor" is true or false; everything else is English text of at most {MOST_WORDS} words, without full '
        'sentences such as "The image shows"; "negative" may be "".'
    )


def correction(wrong: str, coarse: bool, style: bool) -> str:
    """What is said of an answer that cannot be used."""
    named = ", ".join(keys(coarse, style))
    return f"That cannot be used: {wrong}. Answer again with one JSON object alone, with the keys {named}."
