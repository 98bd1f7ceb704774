"""Media through PyAV: frames with their true times, mono sound, embedded subtitles; JPEG.

The one room that opens media. All three readers share one clock, which is 0 at the first frame of
the picture (at the first sample, if there is no picture). Times come from the decoder, never from
``index / fps``, and nothing seeks. Decoding uses one thread, so that a worker uses one core and the
same file gives the same bytes every time.
"""

from merr_pipeline.media.container import Lost, open_media, video_stream
from merr_pipeline.media.frames import Frame, Frames, Pixels, Turn, decode_frames, read_frames
from merr_pipeline.media.pictures import Picture, frame_jpeg, jpeg
from merr_pipeline.media.sound import Sound, mix_to_mono, read_sound
from merr_pipeline.media.subtitles import SubtitleCue, SubtitleTrack, read_subtitles

__all__ = [
    "Frame",
    "Frames",
    "Lost",
    "Picture",
    "Pixels",
    "Sound",
    "SubtitleCue",
    "SubtitleTrack",
    "Turn",
    "decode_frames",
    "frame_jpeg",
    "jpeg",
    "mix_to_mono",
    "open_media",
    "read_frames",
    "read_sound",
    "read_subtitles",
    "video_stream",
]
