"""A program of its own: an image on standard input, its thumbnail on standard output, within limits.

It takes nothing of ours, so that it can be run with `python -I` and an empty environment. The format of the thumbnail
is the first word on standard error. Rows E04 and E05 of the known attacks.

    thumbnail_process.py WIDTH HEIGHT crop|scale still|animated PIXELS MEMORY_BYTES CPU_SECONDS

Exit status: 0 made, 3 too large, anything else: not an image that we take.
"""

from __future__ import annotations

import io
import resource
import sys
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
TOO_LARGE = 3
NO_IMAGE = 4
MAXIMUM_FRAMES = 300
DECODED_TIMES = 6
"""As many times the pixels of the largest image are decoded for all frames of an animation."""
MAXIMUM_OUTPUT = 16 * 1024 * 1024


def limit(memory_bytes: int, cpu_seconds: int) -> None:
    """What the kernel holds this process to."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAXIMUM_OUTPUT, MAXIMUM_OUTPUT))


def main(arguments: list[str]) -> int:
    width, height, pixels, memory, cpu = (int(arguments[index]) for index in (0, 1, 4, 5, 6))
    method, is_animated = arguments[2], arguments[3] == "animated"
    limit(memory, cpu)
    from PIL import Image, ImageFile, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # ours is asked below, before anything is decoded
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    source = sys.stdin.buffer
    try:
        image = Image.open(source, formats=FORMATS)
        if image.width * image.height > pixels:
            return TOO_LARGE
        kind = (
            "JPEG" if image.format == "MPO" else image.format or ""
        )  # several photographs in a JPEG: the first counts
        moves = kind != "JPEG" and bool(getattr(image, "is_animated", False))
        if image.width <= width and image.height <= height and (is_animated or not moves):
            # "When the content is smaller than the requested dimensions, servers should return the original content".
            image.load()
            return answer(kind, image.size, original(source))
        if moves and is_animated and (made := animate(image, width, height, method, pixels)) is not None:
            return answer("WEBP", *made)
        if image.format == "JPEG":
            image.draft("RGB", (width * 2, height * 2))
        image.seek(0)
        still = fit(ImageOps.exif_transpose(image), width, height, method)
        output = io.BytesIO()
        if "A" in still.getbands() or "transparency" in still.info:
            still.convert("RGBA").save(output, "PNG")
            return answer("PNG", still.size, output.getvalue())
        still.convert("RGB").save(output, "JPEG", quality=82, optimize=True)
        return answer("JPEG", still.size, output.getvalue())
    except MemoryError:
        return TOO_LARGE
    except Exception:
        return NO_IMAGE


def fit(image: Image.Image, width: int, height: int, method: str) -> Image.Image:
    """`scale` fits it into the rectangle; `crop` fills the rectangle. Nothing is ever made larger."""
    from PIL.Image import Resampling

    if image.mode not in ("RGB", "RGBA", "L", "LA"):
        image = image.convert("RGBA" if image.mode in ("P", "PA") else "RGB")
    choose = max if method == "crop" else min
    factor = min(1.0, choose(width / image.width, height / image.height))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    resized = image.resize(size, Resampling.LANCZOS, reducing_gap=2.0)
    if method != "crop":
        return resized
    wide, high = min(width, resized.width), min(height, resized.height)
    left, top = (resized.width - wide) // 2, (resized.height - high) // 2
    return resized.crop((left, top, left + wide, top + high))


def animate(
    image: Image.Image, width: int, height: int, method: str, pixels: int
) -> tuple[tuple[int, int], bytes] | None:
    """All frames, as WebP; None when there are too many, so that a still picture is made instead."""
    count: int = getattr(image, "n_frames", 1)
    if count > MAXIMUM_FRAMES or count * image.width * image.height > DECODED_TIMES * pixels:
        return None
    frames: list[Image.Image] = []
    durations: list[int] = []
    painted = 0
    while True:
        frame = fit(image.convert("RGBA"), width, height, method)
        painted += frame.width * frame.height
        if len(frames) >= MAXIMUM_FRAMES or painted > pixels:
            return None
        frames.append(frame)
        durations.append(max(20, int(image.info.get("duration", 100))))
        try:
            image.seek(image.tell() + 1)
        except EOFError:
            break
    output = io.BytesIO()
    frames[0].save(output, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=75)
    return frames[0].size, output.getvalue()


def original(source: BinaryIO) -> bytes:
    source.seek(0)
    return source.read()


def answer(image_format: str, size: tuple[int, int], content: bytes) -> int:
    if len(content) > MAXIMUM_OUTPUT:
        return TOO_LARGE
    sys.stderr.write(f"{image_format} {size[0]} {size[1]}")
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
