"""Encoded pictures as a headset's preview sends them: JPEG, base64, changing."""

import base64
import io
import math

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 480, 270
LOOP_FRAMES = 48


def picture(label: str, index: int) -> bytes:
    """One JPEG of a desk, two hands on their way round it, the device's name and a counter."""
    turn = 2 * math.pi * index / LOOP_FRAMES
    image = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB")
    # Film grain: a flat picture would be far smaller than a camera's.
    grain = Image.effect_noise((WIDTH, HEIGHT), 24).convert("RGB")
    image = Image.blend(image, grain, 0.25)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, HEIGHT * 2 // 3, WIDTH, HEIGHT), fill=(92, 72, 56))
    for side, colour in ((-1, (224, 172, 140)), (1, (198, 140, 108))):
        x = WIDTH / 2 + side * 90 + 50 * math.cos(turn)
        y = HEIGHT / 2 + 20 + 35 * math.sin(turn * (2 if side > 0 else 1))
        draw.ellipse((x - 26, y - 20, x + 26, y + 20), fill=colour)
        for finger in range(4):
            fx = x - 18 + 12 * finger
            draw.line((fx, y - 12, fx + 3 * side, y - 38), fill=colour, width=7)
    draw.text((10, 8), label, fill=(255, 255, 255))
    draw.text((WIDTH - 80, 8), f"#{index:04d}", fill=(255, 255, 255))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=72)
    return out.getvalue()


def loop(label: str, frames: int = LOOP_FRAMES) -> list[str]:
    """A loop of base64 frames, as Quest apps send them."""
    return [base64.b64encode(picture(label, index)).decode() for index in range(frames)]
