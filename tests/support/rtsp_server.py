"""An RTSP server for tests, run by the system's Python, which alone has GStreamer's bindings (`gi`).

It listens on 127.0.0.1, prints its port, and then obeys lines on its standard input: `size WIDTH HEIGHT` changes the
resolution while clients watch. It ends when its standard input is closed, so that it never outlives the test.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import gi  # type: ignore[import-not-found, unused-ignore]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found, unused-ignore]  # noqa: E402

ROLE = "viewer"


@dataclass(frozen=True)
class Picture:
    """A served stream: a clip, or a moving ball without one."""

    clip: Path | None
    loop: bool
    fps: Fraction
    bitrate: int
    sound: bool = False
    codec: str = "h264"
    audio: bool = False

    def launch(self) -> str:
        """The pipeline whose element `pay0` the server hands out."""
        tone = "audiotestsrc is-live=true ! audio/x-raw,rate=8000 ! mulawenc ! rtppcmupay name=pay{} pt=0"
        if self.sound:
            return f"( {tone.format(0)} )"
        source = "appsrc name=clip is-live=true format=time" if self.clip else "videotestsrc is-live=true pattern=ball"
        return (
            f"( {source} ! videoconvert ! videoscale ! capsfilter name=size ! "
            f"{self._encoder} ! rtp{self.codec}pay name=pay0 pt=96 config-interval=-1 {tone.format(1) * self.audio} )"
        )

    @property
    def _encoder(self) -> str:
        if self.codec == "h265":
            return f"x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15 bitrate={self.bitrate}"
        return (
            f"x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max=15 bitrate={self.bitrate} ! "
            "video/x-h264,profile=baseline"
        )


class ClipFeed:
    """Decodes a clip and hands its frames to an `appsrc`, over and over, at a steady rate."""

    def __init__(self, picture: Picture, appsrc: Gst.Element) -> None:
        self.picture = picture
        self.appsrc = appsrc
        self.count = 0
        self.decoder = Gst.parse_launch(
            "filesrc name=file ! decodebin ! videoconvert ! videorate ! "
            f"video/x-raw,format=I420,framerate={picture.fps.numerator}/{picture.fps.denominator} ! "
            "appsink name=frames sync=false max-buffers=2"
        )
        self.decoder.get_by_name("file").set_property("location", str(picture.clip))
        self.frames = self.decoder.get_by_name("frames")
        self.decoder.set_state(Gst.State.PLAYING)
        self.appsrc.connect("need-data", self.feed)

    def feed(self, _appsrc: Gst.Element, _length: int) -> None:
        """Push the next frame; at the clip's end begin again, or end the stream."""
        sample = self.frames.emit("pull-sample")
        if sample is None and self.picture.loop:
            self.decoder.seek_simple(Gst.Format.TIME, Gst.SeekFlags.FLUSH | Gst.SeekFlags.KEY_UNIT, 0)
            sample = self.frames.emit("pull-sample")
        if sample is None:
            self.appsrc.emit("end-of-stream")
            return
        if self.count == 0:
            self.appsrc.set_property("caps", sample.get_caps())
        buffer = sample.get_buffer().copy()
        buffer.duration = Gst.SECOND // self.picture.fps
        buffer.pts = self.count * Gst.SECOND // self.picture.fps
        self.count += 1
        self.appsrc.emit("push-buffer", buffer)

    def end(self) -> None:
        """Free the decoder."""
        self.decoder.set_state(Gst.State.NULL)


class Stream:
    """The mounted stream: one shared pipeline, its size, and the feed of its clip."""

    def __init__(self, picture: Picture, width: int, height: int) -> None:
        self.picture = picture
        self.size = (width, height)
        self.filter: Gst.Element | None = None
        self.feed: ClipFeed | None = None
        self.factory = GstRtspServer.RTSPMediaFactory()
        self.factory.set_launch(picture.launch())
        self.factory.set_shared(True)
        self.factory.connect("media-configure", self.configure)

    def configure(self, _factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
        """Prepare the pipeline for the first client."""
        pipeline = media.get_element()
        self.filter = pipeline.get_by_name("size")
        self.resize(*self.size)
        clip = pipeline.get_by_name("clip")
        if clip is not None:
            self.feed = ClipFeed(self.picture, clip)
            media.connect("unprepared", self.unprepared)

    def unprepared(self, _media: GstRtspServer.RTSPMedia) -> None:
        """The last client has gone."""
        if self.feed is not None:
            self.feed.end()
            self.feed = None

    def resize(self, width: int, height: int) -> None:
        """Serve this size from now on."""
        self.size = (width, height)
        if self.filter is not None:
            rate = (
                "" if self.picture.clip else f",framerate={self.picture.fps.numerator}/{self.picture.fps.denominator}"
            )
            caps = f"video/x-raw,format=I420,width={width},height={height},pixel-aspect-ratio=1/1{rate}"
            self.filter.set_property("caps", Gst.Caps.from_string(caps))


def require_login(
    server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, user: str, password: str
) -> None:
    """Admit only this user (HTTP basic authentication)."""
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", ROLE)
    auth = GstRtspServer.RTSPAuth()
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for right in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role(ROLE, right, True)
    factory.set_permissions(permissions)


def main() -> None:
    """Serve until standard input ends."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--clip", type=Path)
    arguments.add_argument("--once", action="store_true", help="end the stream at the clip's end")
    arguments.add_argument("--width", type=int, required=True)
    arguments.add_argument("--height", type=int, required=True)
    arguments.add_argument("--fps", type=Fraction, required=True)
    arguments.add_argument("--sound", action="store_true", help="serve a tone and no pictures")
    arguments.add_argument("--audio", action="store_true", help="serve a tone beside the pictures")
    arguments.add_argument("--codec", choices=("h264", "h265"), default="h264")
    arguments.add_argument("--bitrate", type=int, default=2000, help="kilobits a second")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--user")
    arguments.add_argument("--password")
    given = arguments.parse_args()

    Gst.init(None)
    loop = GLib.MainLoop()
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(given.port))
    stream = Stream(
        Picture(given.clip, not given.once, given.fps, given.bitrate, given.sound, given.codec, given.audio),
        given.width,
        given.height,
    )
    if given.user is not None:
        require_login(server, stream.factory, given.user, given.password)
    server.get_mount_points().add_factory("/stream", stream.factory)
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on port {given.port}")

    def obey(channel: GLib.IOChannel, _condition: GLib.IOCondition) -> bool:
        line = channel.readline()
        if not line:
            loop.quit()
            return False
        _size, width, height = line.split()
        stream.resize(int(width), int(height))
        return True

    commands = GLib.IOChannel.unix_new(sys.stdin.fileno())
    GLib.io_add_watch(commands, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, obey)
    print(server.get_bound_port(), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
