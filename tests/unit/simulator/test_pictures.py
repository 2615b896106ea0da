"""Pictures are what a headset's preview would send."""

import base64
import io

from PIL import Image

from quest_backend.protocol import catalogue
from quest_backend.simulator import pictures


def test_pictures_decode_differ_and_are_as_large_as_a_preview() -> None:
    frames = pictures.loop("SIMQUEST_0001")
    assert len(frames) == len(set(frames)) == pictures.LOOP_FRAMES
    for frame in frames:
        encoded = base64.b64decode(frame, validate=True)
        assert 10_000 < len(encoded) < 40_000
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
            assert (image.format, image.size) == ("JPEG", (pictures.WIDTH, pictures.HEIGHT))


def test_a_frame_is_one_that_the_server_takes() -> None:
    frame = pictures.loop("SIMQUEST_0001", 1)[0]
    assert catalogue.HEADSET_FRAME.parse([frame]) == [frame]
