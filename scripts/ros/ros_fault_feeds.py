# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with what a depth node is fed: each fault alters the messages of one moment."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ros_nodes.convert import stamp_message

FRAME, ODOM = "camera_optical", "odom"


@dataclass
class Feed:
    """The messages of one moment; None is not sent."""

    image: Any
    info: CameraInfo | None
    odometry: Odometry | None


def shifted(seconds: float) -> Callable[[Feed], Feed]:
    """Stamp everything so much later."""

    def alter(feed: Feed) -> Feed:
        for message in (feed.image, feed.info, feed.odometry):
            stamp = message.header.stamp
            stamp.sec += round(seconds)
        return feed

    return alter


def image_of(change: Callable[[Image], Any]) -> Callable[[Feed], Feed]:
    """Change the image alone."""

    def alter(feed: Feed) -> Feed:
        feed.image = change(feed.image)
        return feed

    return alter


def info_of(change: Callable[[CameraInfo], CameraInfo | None]) -> Callable[[Feed], Feed]:
    """Change the calibration alone."""

    def alter(feed: Feed) -> Feed:
        feed.info = change(feed.info)
        return feed

    return alter


def odometry_of(change: Callable[[Odometry], Odometry | None]) -> Callable[[Feed], Feed]:
    """Change the odometry alone."""

    def alter(feed: Feed) -> Feed:
        feed.odometry = change(feed.odometry)
        return feed

    return alter


def pixels(message: Image) -> np.ndarray:
    """View an image's pixels. (H, W, 3) uint8"""
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def as_encoding(encoding: str, convert: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Feed]:
    """Send the picture in another encoding."""

    def change(image: Image) -> Image:
        picture = np.ascontiguousarray(convert(pixels(image)))
        height, width = picture.shape[:2]
        step = picture.nbytes // height
        data = array("B", picture.tobytes())
        sent = Image(height=height, width=width, encoding=encoding, step=step, data=data)
        sent.header = image.header
        return sent

    return image_of(change)


def mosaic(bgr: np.ndarray) -> np.ndarray:
    """Keep one colour a pixel, rggb. (H, W) uint8"""
    raw = bgr[..., 1].copy()
    raw[0::2, 0::2], raw[1::2, 1::2] = bgr[0::2, 0::2, 2], bgr[1::2, 1::2, 0]
    return raw


def with_fields(**fields: Any) -> Callable[[Any], Any]:
    """Overwrite fields of a message."""

    def change(message: Any) -> Any:
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    return change


def short(image: Image) -> Image:
    """Lose half of the data."""
    image.data = image.data[: len(image.data) // 2]
    return image


def zero_stamp(feed: Feed) -> Feed:
    """A driver that does not stamp."""
    feed.image.header.stamp = stamp_message(0)
    return feed


def jumping(every: int) -> Callable[[Feed], Feed]:
    """An odometry that leaps 50 m now and then."""
    count = 0

    def alter(feed: Feed) -> Feed:
        nonlocal count
        count += 1
        feed.odometry.pose.pose.position.x += 50.0 * (count // every % 2)
        return feed

    return alter


def not_finite(odometry: Odometry) -> Odometry:
    """An odometry that has lost itself."""
    odometry.pose.pose.position.x = float("nan")
    return odometry


FAULTS: dict[str, Callable[[Feed], Feed]] = {
    "no image": image_of(lambda image: None),
    "wrong step": image_of(with_fields(step=7)),
    "short data": image_of(short),
    "unknown encoding": image_of(with_fields(encoding="banana8")),
    "mono16": as_encoding("mono16", lambda bgr: bgr[..., 1].astype(np.uint16) << 8),
    "bayer_rggb8": as_encoding("bayer_rggb8", mosaic),
    "rgba8": as_encoding("rgba8", lambda bgr: cv2.cvtColor(bgr, cv2.COLOR_BGR2RGBA)),
    "half the size, mono8": as_encoding("mono8", lambda bgr: bgr[::2, ::2, 1]),
    "black frames": as_encoding("bgr8", np.zeros_like),
    "stamps at zero": zero_stamp,
    "stamps an hour back": shifted(-3600),
    "stamps an hour ahead": shifted(3600),
    "no camera_info": info_of(lambda info: None),
    "camera_info of another size": info_of(with_fields(width=100, height=99)),
    "K = 0": info_of(with_fields(k=[0.0] * 9)),
    "camera_info of another frame": info_of(
        lambda info: with_fields(header=Header(stamp=info.header.stamp, frame_id="other"))(info)
    ),
    "odometry stale": odometry_of(lambda odometry: None),
    "odometry jumps 50 m": jumping(8),
    "odometry not finite": odometry_of(not_finite),
}


def jpeg(share: float) -> Callable[[Feed], Feed]:
    """Send so much of each picture's JPEG."""

    def change(image: Image) -> CompressedImage:
        data = cv2.imencode(".jpg", pixels(image))[1].tobytes()
        return CompressedImage(
            header=image.header, format="jpeg", data=data[: round(share * len(data))]
        )

    return image_of(change)


def stepping(rate: float) -> Callable[[Feed], Feed]:
    """Stamps that run back by one frame every third frame."""
    count = 0

    def alter(feed: Feed) -> Feed:
        nonlocal count
        count += 1
        if count % 3 == 0:
            back = feed.image.header.stamp.sec * 10**9 + feed.image.header.stamp.nanosec
            feed.image.header = Header(
                stamp=stamp_message(back - round(1.5e9 / rate)), frame_id=FRAME
            )
        return feed

    return alter
