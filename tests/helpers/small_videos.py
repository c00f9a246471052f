"""Small videos, written and read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest


def write_video(path, frames=5, size=(48, 64), rate=29.97):
    codec = 'MJPG' if path.suffix == '.avi' else 'mp4v'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, size[::-1])
    if not writer.isOpened():
        pytest.skip(f'this OpenCV writes no {path.suffix}')
    for number in range(frames):
        frame = np.full((*size, 3), (60, 120, 180), np.uint8)
        frame[:, number * 8 : number * 8 + 16] = (200, 80, 90)
        writer.write(frame)
    writer.release()


def read_video(path):
    reader = cv2.VideoCapture(str(path))
    frames = []
    while (got := reader.read())[0]:
        frames.append(got[1])
    return reader.get(cv2.CAP_PROP_FPS), frames
